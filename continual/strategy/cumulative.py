"""All data so far, from where the last task ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from continual.strategy.base import Stage, Strategy
from continual.stream.base import Rows


@dataclass(frozen=True)
class Cumulative(Strategy):
    """The one module and head go on with the rows of all tasks so far: replay without a limit on what is kept."""

    shared: ClassVar[bool] = True
    one_head: ClassVar[bool] = True

    def rows(self, stage: Stage) -> Rows:
        return [row for task in stage.tasks for row in task.train]
