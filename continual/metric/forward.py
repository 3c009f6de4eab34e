"""What earlier tasks do for a task that was not learned yet."""

from __future__ import annotations

from continual.ledger import Ledger
from continual.metric.base import ZERO, Metric, mean, scores


def forward_transfer(ledger: Ledger) -> float:
    """1/(T-1) Σ_{i≥1} (R[i-1][i] - b_i), with b the row "zero"; above zero: earlier tasks help before any training.

    In the unit of the scores. FWT of Lopez-Paz & Ranzato 2017 (GEM), eq. 4. There both terms go through the head of
    an untrained network. A task that was not learned has no head here: R[i-1][i] is nearest class mean on the
    features of the module just learned, b_i nearest class mean on those of the bare encoder. So this measures
    features, not the luck of a random head, and its values are not comparable with those of frameworks that score
    a random head. A task with one of its two cells missing is left out of the mean; NaN where no pair is there, so
    for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forward_transfer(from_matrix([[0.75, 0.5, None], [0.75, 0.75, 0.25], [0.75, 0.75, 0.75]], [0.5, 0.25, 0.5]))
    0.0
    """
    table = scores(ledger)
    return mean(table[task - 1, task] - table[ZERO, task] for task in range(1, len(ledger.tasks)))


def cells(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the first: the row before it was learned and the row "zero"."""
    return [(after, task) for task in range(1, tasks) for after in (task - 1, ZERO)]


METRIC = Metric(
    forward_transfer, cells, version=1, says="mean over tasks i≥1 of R[i−1,i] − b_i, both by nearest class mean"
)
