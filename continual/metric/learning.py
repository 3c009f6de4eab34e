"""How well tasks are learned when their turn comes, and how well they are kept: plasticity and stability."""

from __future__ import annotations

import math

from continual.ledger import Ledger
from continual.metric.base import Metric, diagonal, last_row, mean, scores


def learning_accuracy(ledger: Ledger) -> float:
    """1/T Σ_i R[i][i], the accuracy on each task right after it was learned.

    In the unit of the scores. Learning accuracy of Riemer et al. 2019 (MER). A missing cell is left out of the mean;
    NaN where none is there.

    >>> from continual.metric.base import from_matrix
    >>> learning_accuracy(from_matrix([[0.75, None], [0.5, 1.0]]))
    0.875
    """
    table = scores(ledger)
    return mean(table[cell] for cell in diagonal(len(ledger.tasks)))


def plasticity(ledger: Ledger) -> float:
    """1/T Σ_i R[i][i]: ``learning_accuracy`` under the name that it has beside ``stability``.

    >>> from continual.metric.base import from_matrix
    >>> plasticity(from_matrix([[0.75, None], [0.5, 1.0]]))
    0.875
    """
    return learning_accuracy(ledger)


def stability(ledger: Ledger) -> float:
    """1/(T-1) Σ_{j<T-1} R[T-1][j], the accuracy at the end on the tasks before the last.

    In the unit of the scores. S of Sarfraz et al. 2022 (SYNERgy). A missing cell is left out of the mean; NaN where
    none is there, so for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> stability(from_matrix([[0.75, None], [0.5, 1.0]]))
    0.5
    """
    table = scores(ledger)
    return mean(table[cell] for cell in earlier(len(ledger.tasks)))


def stability_plasticity(ledger: Ledger) -> float:
    """2 S P / (S + P), the harmonic mean of ``stability`` S and ``plasticity`` P: low where either is.

    Of scores that are not negative. The "trade-off" of Sarfraz et al. 2022 (SYNERgy). 0 where both are 0; NaN where
    either is undefined, so for T = 1, or negative (a correlation may be), which no harmonic mean is made for.

    >>> from continual.metric.base import from_matrix
    >>> stability_plasticity(from_matrix([[1.0, None], [0.25, 0.5]]))
    0.375
    """
    stable, plastic = stability(ledger), plasticity(ledger)
    if math.isnan(stable + plastic) or stable < 0 or plastic < 0:
        return math.nan
    return 2 * stable * plastic / (stable + plastic) if stable + plastic else 0.0


def earlier(tasks: int) -> list[tuple[int, int]]:
    """The last row without its last cell."""
    return last_row(tasks)[:-1]


def both(tasks: int) -> list[tuple[int, int]]:
    """What stability reads and what plasticity reads; neither reads a cell of the other."""
    return [*earlier(tasks), *diagonal(tasks)] if tasks > 1 else []


METRICS = (
    Metric(learning_accuracy, diagonal, version=1, says="mean over tasks i of R[i,i]: accuracy right after learning"),
    Metric(plasticity, diagonal, version=1, says="mean over tasks i of R[i,i]: the learning accuracy"),
    Metric(stability, earlier, version=1, says="mean over tasks j<T−1 of R[T−1,j]: earlier tasks at the end"),
    Metric(stability_plasticity, both, version=1, says="harmonic mean of stability and plasticity"),
)
