"""The most attended members of each site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from continual import prune
from continual.errors import ContinualError
from continual.pruning.base import require_epochs


@dataclass(frozen=True)
class Top:
    """The ``keep`` most attended members of each site, and none in the layers below ``above`` (Rücklé et al. 2021).

    epochs  for which what is left is trained on

    Raises ContinualError for ``keep`` below 1, ``epochs`` below 0, and where no site would be left.
    """

    keep: int = 2
    above: int = 0
    epochs: int = 0

    def __post_init__(self) -> None:
        if self.keep < 1 or self.above < 0:
            raise ContinualError(
                f"prune.keep must be at least 1 and prune.above at least 0, got {self.keep}, {self.above}"
            )
        require_epochs(self.epochs)

    def choose(self, shares: prune.Shares, score: Callable[[prune.Kept], float]) -> prune.Kept:
        low = prune.dropped(shares, range(self.above))
        if len(low) == len(shares):
            raise ContinualError(
                f"prune.above={self.above} leaves no site; the composition acts at: {', '.join(shares)}"
            )
        return prune.most_attended(shares, self.keep) | low
