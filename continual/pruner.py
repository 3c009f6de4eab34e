"""How a run makes a learned composition smaller: two ways, each with what it keeps and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from continual import prune
from continual.errors import ContinualError


class Pruner(Protocol):
    """A rule by which members of a learned composition are taken away."""

    def choose(self, shares: prune.Shares, score: Callable[[prune.Kept], float]) -> prune.Kept:
        """What stays, of members with these mean weights. ``score`` gives the validation score of a choice."""
        ...


@dataclass(frozen=True)
class Top:
    """The ``keep`` most attended members of each site, and none in the layers below ``above`` (Rücklé et al. 2021).

    Raises ContinualError for ``keep`` below 1, and where no site would be left.
    """

    keep: int = 2
    above: int = 0

    def __post_init__(self) -> None:
        if self.keep < 1 or self.above < 0:
            raise ContinualError(
                f"prune.keep must be at least 1 and prune.above at least 0, got {self.keep}, {self.above}"
            )

    def choose(self, shares: prune.Shares, score: Callable[[prune.Kept], float]) -> prune.Kept:
        low = prune.dropped(shares, range(self.above))
        if len(low) == len(shares):
            raise ContinualError(
                f"prune.above={self.above} leaves no site; the composition acts at: {', '.join(shares)}"
            )
        return prune.most_attended(shares, self.keep) | low


@dataclass(frozen=True)
class Automatic:
    """As little as keeps the validation score within ``tolerance`` (of 0 to 1) of the full composition's.

    Members go first, those of least weight before others, then whole layers, the lowest first.
    """

    tolerance: float = 0.003

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise ContinualError(f"prune.tolerance must be at least 0, got {self.tolerance}")

    def choose(self, shares: prune.Shares, score: Callable[[prune.Kept], float]) -> prune.Kept:
        return prune.automatic(score, prune.steps(shares), self.tolerance)
