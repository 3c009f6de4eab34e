"""How good the learner is at the end."""

from __future__ import annotations

from continual.ledger import Ledger
from continual.metric.base import Metric, mean, scores


def average_accuracy(ledger: Ledger) -> float:
    """1/T Σ_j R[T-1][j], each task with the same weight (macro).

    In the unit of the scores. ACC of Lopez-Paz & Ranzato 2017 (GEM), eq. 2; Renate's ``average_accuracy``. Not the
    row-weighted (micro) mean of O-LoRA and PILOT. A missing cell is left out of the mean; NaN where none is there.

    >>> from continual.metric.base import from_matrix
    >>> average_accuracy(from_matrix([[0.9, None], [0.5, 0.75]]))
    0.625
    """
    table = scores(ledger)
    return mean(table[cell] for cell in cells(len(ledger.tasks)))


def cells(tasks: int) -> list[tuple[int, int]]:
    """The last row."""
    return [(tasks - 1, task) for task in range(tasks)]


METRIC = Metric(average_accuracy, cells, version=1, says="mean over tasks j of R[T−1,j]: accuracy after the last task")
