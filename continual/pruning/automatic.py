"""As few members as the validation score allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from continual import prune
from continual.errors import ContinualError
from continual.pruning.base import require_epochs


@dataclass(frozen=True)
class Automatic:
    """As little as keeps the validation score within ``tolerance`` (of 0 to 1) of the full composition's.

    Members go first, those of least weight before others, then whole layers, the lowest first.

    epochs  for which what is left is trained on; the choice itself is made before
    """

    tolerance: float = 0.003
    epochs: int = 0

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ContinualError(f"prune.tolerance must be at least 0, got {self.tolerance}")
        require_epochs(self.epochs)

    def choose(self, shares: prune.Shares, score: Callable[[prune.Kept], float]) -> prune.Kept:
        return prune.automatic(score, prune.steps(shares), self.tolerance)
