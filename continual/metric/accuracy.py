"""How good the learner is at the end: each task with the same weight, or each row."""

from __future__ import annotations

from continual.ledger import Ledger
from continual.metric.base import Metric, last_row, mean, scores, weighted_mean


def average_accuracy(ledger: Ledger) -> float:
    """1/T Σ_j R[T-1][j], each task with the same weight (macro).

    In the unit of the scores. ACC of Lopez-Paz & Ranzato 2017 (GEM), eq. 2; Renate's ``average_accuracy``. Not the
    row-weighted (micro) mean of O-LoRA and PILOT. A missing cell is left out of the mean; NaN where none is there.

    >>> from continual.metric.base import from_matrix
    >>> average_accuracy(from_matrix([[0.9, None], [0.5, 0.75]]))
    0.625
    """
    table = scores(ledger)
    return mean(table[cell] for cell in last_row(len(ledger.tasks)))


def micro_average_accuracy(ledger: Ledger) -> float:
    """Σ_j n_j R[T-1][j] / Σ_j n_j, with n_j the test rows of task j: each row with the same weight.

    Renate's ``micro_average_accuracy``, O-LoRA's ``predict_exact_match``, PILOT's ``total``. The share of right rows
    where the score is the accuracy; of other scores a weighted mean and no more. A missing cell is left out of both
    sums; NaN where none is there, or where nobody wrote down how many rows there are.

    >>> from continual.metric.base import from_matrix
    >>> micro_average_accuracy(from_matrix([[0.9, None], [0.5, 0.75]], counts=[300, 100]))
    0.5625
    """
    table = scores(ledger)
    return weighted_mean(table[len(ledger.tasks) - 1], ledger.counts())


METRICS = (
    Metric(average_accuracy, last_row, version=1, says="mean over tasks j of R[T−1,j]: accuracy after the last task"),
    Metric(micro_average_accuracy, last_row, version=1, says="mean of R[T−1,j] weighted by the test rows of task j"),
)
