"""How well each task is learned when its turn comes: plasticity."""

from __future__ import annotations

from continual.ledger import Ledger
from continual.metric.base import Metric, mean, scores


def learning_accuracy(ledger: Ledger) -> float:
    """1/T Σ_i R[i][i], the accuracy on each task right after it was learned.

    In the unit of the scores. Learning accuracy of Riemer et al. 2019 (MER). A missing cell is left out of the mean;
    NaN where none is there.

    >>> from continual.metric.base import from_matrix
    >>> learning_accuracy(from_matrix([[0.75, None], [0.5, 1.0]]))
    0.875
    """
    table = scores(ledger)
    return mean(table[cell] for cell in cells(len(ledger.tasks)))


def cells(tasks: int) -> list[tuple[int, int]]:
    """The diagonal."""
    return [(task, task) for task in range(tasks)]


METRIC = Metric(learning_accuracy, cells, version=1, says="mean over tasks i of R[i,i]: accuracy right after learning")
