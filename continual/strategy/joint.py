"""The upper reference: all data so far, from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from continual.adapter import Adapter
from continual.method.base import Params
from continual.strategy.base import Stage, Strategy
from continual.stream.base import Rows


@dataclass(frozen=True)
class Joint(Strategy):
    """After each task a fresh module and head learn the rows of all tasks so far together.

    The last stage is the joint (multi-task) training of the literature; the stages before it are what intransigence
    (Chaudhry et al. 2018) and class-incremental forgetting compare with. It costs T(T+1)/2 tasks of training.
    """

    shared: ClassVar[bool] = True
    one_head: ClassVar[bool] = True

    def start(self, fresh: Adapter, stage: Stage) -> Adapter:
        return fresh

    def start_head(self, fresh: Params, known: Params) -> Params:
        return fresh

    def rows(self, stage: Stage) -> Rows:
        return [row for task in stage.tasks for row in task.train]
