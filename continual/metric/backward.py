"""What learning later tasks did to earlier ones, against how they were right after they were learned."""

from __future__ import annotations

from continual.ledger import Ledger
from continual.metric.base import Metric, lower_triangle, mean, scores


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


def backward_transfer_over_tasks(ledger: Ledger) -> float:
    """1/T Σ_{i<T} (R[T-1][i] - R[i][i]): the last task, whose difference is 0, counts in the mean.

    In the unit of the scores. FusionBench's ``compute_backward_transfer``; (T-1)/T of ``backward_transfer``, also
    where cells are missing: a task that is left out there is left out here. NaN for T = 1 (FusionBench says 0).

    >>> from continual.metric.base import from_matrix
    >>> backward_transfer_over_tasks(from_matrix([[0.75, None, None], [0.5, 0.875, None], [0.25, 1.0, 0.5]]))
    -0.125
    """
    tasks = len(ledger.tasks)
    return backward_transfer(ledger) * (tasks - 1) / max(tasks, 1)


def backward_transfer_all_pairs(ledger: Ledger) -> float:
    """Σ_{i>j} (R[i][j] - R[j][j]) / (T(T-1)/2): after every later task, not only after the last.

    In the unit of the scores. BWT of Díaz-Rodríguez et al. 2018, which Continuum names as its source. Its
    ``backward_transfer`` (1.2.7) leaves out the pairs i = j+1, as its inner loop ends one too early, and still
    divides by the number of all. A pair with one of its two cells missing is left out of the mean; NaN where no pair
    is there, so for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> backward_transfer_all_pairs(from_matrix([[0.75, None, None], [0.5, 0.75, None], [0.25, 0.75, 0.5]]))
    -0.25
    """
    table, tasks = scores(ledger), len(ledger.tasks)
    return mean(table[after, task] - table[task, task] for after, task in lower_triangle(tasks) if after > task)


def positive_backward_transfer(ledger: Ledger) -> float:
    """max(BWT, 0) of ``backward_transfer_all_pairs``: how much earlier tasks gained.

    In the unit of the scores. BWT+ of Díaz-Rodríguez et al. 2018. Continuum has had this formula and that of
    ``remembering`` under each other's names. NaN for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> positive_backward_transfer(from_matrix([[0.5], [0.75, 0.5]]))
    0.25
    """
    return _above(backward_transfer_all_pairs(ledger))


def remembering(ledger: Ledger) -> float:
    """1 - |min(BWT, 0)| of ``backward_transfer_all_pairs``: 1 where nothing was lost on the mean.

    Of scores in [0, 1]. REM of Díaz-Rodríguez et al. 2018. NaN for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> remembering(from_matrix([[0.75], [0.5, 0.5]]))
    0.75
    """
    return 1 - _above(-backward_transfer_all_pairs(ledger))


def _above(value: float) -> float:
    """Its part above 0; NaN stays NaN, and there is no negative zero."""
    return value if not value <= 0 else 0.0


def first_and_last(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the last: the diagonal and the last row."""
    return [(after, task) for task in range(tasks - 1) for after in (task, tasks - 1)]


def pairs(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the last, whose first score is compared with nothing: all rows since it was learned."""
    return [(after, task) for after, task in lower_triangle(tasks) if task < tasks - 1]


METRICS = (
    Metric(backward_transfer, first_and_last, version=1, says="mean over tasks i<T−1 of R[T−1,i] − R[i,i]"),
    Metric(backward_transfer_over_tasks, first_and_last, version=1, says="sum over tasks of R[T−1,i] − R[i,i], over T"),
    Metric(backward_transfer_all_pairs, pairs, version=1, says="mean over all pairs i>j of R[i,j] − R[j,j]"),
    Metric(positive_backward_transfer, pairs, version=1, says="backward transfer over all pairs, 0 where it is below"),
    Metric(remembering, pairs, version=1, says="1 + backward transfer over all pairs, 1 where that is above 0"),
)
