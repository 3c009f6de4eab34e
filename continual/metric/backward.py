"""What learning later tasks did to earlier ones, first against last."""

from __future__ import annotations

from continual.ledger import Ledger
from continual.metric.base import Metric, mean, scores


def backward_transfer(ledger: Ledger) -> float:
    """1/(T-1) Σ_{i<T-1} (R[T-1][i] - R[i][i]); below zero: earlier tasks got worse.

    In the unit of the scores. BWT of Lopez-Paz & Ranzato 2017 (GEM), eq. 3. The divisor is T-1, not the T of
    FusionBench, and only the last row is read, not the all pairs of Continuum. A task with one of its two cells
    missing is left out of the mean; NaN where no pair is there, so for T = 1 (Continuum and Renate say 0).

    >>> from continual.metric.base import from_matrix
    >>> backward_transfer(from_matrix([[0.75, None, None], [0.5, 0.875, None], [0.25, 1.0, 0.5]]))
    -0.1875
    """
    table, last = scores(ledger), len(ledger.tasks) - 1
    return mean(table[last, task] - table[task, task] for task in range(last))


def cells(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the last: the diagonal and the last row."""
    return [(after, task) for task in range(tasks - 1) for after in (task, tasks - 1)]


METRIC = Metric(backward_transfer, cells, version=1, says="mean over tasks i<T−1 of R[T−1,i] − R[i,i]")
