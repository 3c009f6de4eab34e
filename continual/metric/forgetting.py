"""What learning later tasks did to earlier ones, as a loss: from the first score, or from the best, to the last."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from continual.ledger import Ledger
from continual.metric.base import Metric, mean, scores


def forgetting(ledger: Ledger) -> float:
    """1/(T-1) Σ_{j<T-1} (max_{j≤l<T-1} R[l][j] - R[T-1][j]); below zero: tasks are better at the end than ever before.

    In the unit of the scores. Chaudhry et al. 2018, eq. 3. The maximum is over the rows since the task was learned
    and before the last one: Renate's also reads rows before learning, Mammoth's and PILOT's the last row, so that
    theirs is never negative; Continuum's (1.2.7) ends one task and one row too early. The maximum is over the cells
    that are there, which can only make it smaller; a task without any of them or without its last cell is left out;
    NaN where none is left, so for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forgetting(from_matrix([[0.75, None, None], [1.0, 0.75, None], [0.5, 0.875, 0.5]]))
    0.1875
    """
    return mean(losses(ledger))


def forgetting_with_last(ledger: Ledger) -> float:
    """1/(T-1) Σ_{j<T-1} (max_{j≤l≤T-1} R[l][j] - R[T-1][j]): the last row may be the best, so it is never below 0.

    In the unit of the scores. PILOT's; Mammoth's ``forgetting`` where no task scores higher before it was learned,
    whose rows that also reads. Equal to the mean of max(loss, 0) over the losses of ``forgetting``, and computed as
    that: a task without a cell before the last row is left out, not taken for one that forgot nothing. NaN for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forgetting_with_last(from_matrix([[0.75, None, None], [1.0, 0.75, None], [0.5, 0.875, 0.5]]))
    0.25
    """
    return mean(loss if math.isnan(loss) else max(loss, 0.0) for loss in losses(ledger))


def forgetting_from_first(ledger: Ledger) -> float:
    """1/(T-1) Σ_{j<T-1} (R[j][j] - R[T-1][j]), which is -``backward_transfer``.

    In the unit of the scores. Avalanche's ``Forgetting`` is R[j][j] - R[T-1][j] per task; this is its mean over the
    tasks before the last. A task with one of its two cells missing is left out; NaN for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forgetting_from_first(from_matrix([[0.75, None, None], [1.0, 0.75, None], [0.5, 0.875, 0.5]]))
    0.0625
    """
    table, last = scores(ledger), len(ledger.tasks) - 1
    return mean(table[task, task] - table[last, task] for task in range(last))


def losses(ledger: Ledger) -> list[float]:
    """Of every task but the last: the best score since it was learned and before the last row, less the last."""
    table, last = scores(ledger), len(ledger.tasks) - 1
    return [best(table[task:last, task]) - float(table[last, task]) for task in range(last)]


def best(column: NDArray[np.float64]) -> float:
    """The largest that is not NaN; NaN where all are."""
    return max((score for score in column.tolist() if not math.isnan(score)), default=math.nan)


def since_learned(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the last: all rows since it was learned, the last row included."""
    return [(after, task) for task in range(tasks - 1) for after in range(task, tasks)]


def first_and_last(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the last: the diagonal and the last row."""
    return [(after, task) for task in range(tasks - 1) for after in (task, tasks - 1)]


METRICS = (
    Metric(
        forgetting,
        since_learned,
        version=1,
        says="mean over tasks j<T−1 of max R[l,j] for j≤l<T−1, less the last R[T−1,j]",
        loss=True,
    ),
    Metric(
        forgetting_with_last,
        since_learned,
        version=1,
        says="mean over tasks j<T−1 of max R[l,j] for j≤l≤T−1, less the last R[T−1,j]",
        loss=True,
    ),
    Metric(
        forgetting_from_first,
        first_and_last,
        version=1,
        says="mean over tasks j<T−1 of R[j,j] − R[T−1,j]",
        loss=True,
    ),
)
