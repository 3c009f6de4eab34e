"""What pruning is: a rule by which members of a learned composition are taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from continual import prune


class Pruner(Protocol):
    """Asked once a composition is learned."""

    def choose(self, shares: prune.Shares, score: Callable[[prune.Kept], float]) -> prune.Kept:
        """What stays, of members with these mean weights. ``score`` gives the validation score of a choice."""
        ...
