"""The naive baseline: one shared module, trained on task after task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from continual.strategy.base import Strategy


@dataclass(frozen=True)
class Sequential(Strategy):
    """Every task goes on training the one module (with ``method=full``: the whole encoder).

    With scenario "task" heads stay per task: an old task is answered by the module as it is now and by the head it had
    then, so its score shows what the module has forgotten. Without task identities one head goes on too, over all
    labels so far, and new labels push old ones out.
    """

    shared: ClassVar[bool] = True
