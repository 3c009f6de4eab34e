"""The naive baseline: one shared module, trained on task after task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from continual.adapter import Adapter
from continual.strategy.base import Strategy


class Sequential(Strategy):
    """Every task goes on training the one module (with ``method=full``: the whole encoder); heads stay per task.

    An old task is answered by the module as it is now and by the head it had then, so its score shows what the module
    has forgotten.
    """

    shared: ClassVar[bool] = True

    def start(self, fresh: Adapter, past: Sequence[Adapter]) -> Adapter:
        return past[-1] if past else fresh
