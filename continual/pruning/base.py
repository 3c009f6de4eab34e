"""What pruning is: a rule by which members of a learned composition are taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from continual import prune
from continual.errors import ContinualError


class Pruner(Protocol):
    """Asked once a composition is learned.

    epochs  for which what is left is trained on, on the target's training rows; 0: not at all
    """

    @property
    def epochs(self) -> int: ...

    def choose(self, shares: prune.Shares, score: Callable[[prune.Kept], float]) -> prune.Kept:
        """What stays, of members with these mean weights. ``score`` gives the validation score of a choice."""
        ...


def require_epochs(epochs: int) -> None:
    """Raises ContinualError below zero."""
    if epochs < 0:
        raise ContinualError(f"prune.epochs must be 0 (no training after pruning) or more, got {epochs}")
