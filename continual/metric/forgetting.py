"""What learning later tasks did to earlier ones, best against last."""

from __future__ import annotations

import math

from continual.ledger import Ledger
from continual.metric.base import Metric, mean, scores


def forgetting(ledger: Ledger) -> float:
    """1/(T-1) Σ_{j<T-1} (max_{j≤l<T-1} R[l][j] - R[T-1][j]); below zero: tasks are better at the end than ever before.

    In the unit of the scores. Chaudhry et al. 2018, eq. 3. The maximum is over the rows since the task was learned
    and before the last one: Renate's also reads rows before learning, Mammoth's and PILOT's the last row, so that
    theirs is never negative. The maximum is over the cells that are there, which can only make it smaller; a task
    without any of them or without its last cell is left out; NaN where none is left, so for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forgetting(from_matrix([[0.75, None, None], [1.0, 0.75, None], [0.5, 0.875, 0.5]]))
    0.1875
    """
    table, last = scores(ledger), len(ledger.tasks) - 1
    return mean(best(table[task:last, task].tolist()) - table[last, task] for task in range(last))


def best(column: list[float]) -> float:
    """The largest that is not NaN; NaN where all are."""
    return max((score for score in column if not math.isnan(score)), default=math.nan)


def cells(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the last: all rows since it was learned, the last row included."""
    return [(after, task) for task in range(tasks - 1) for after in range(task, tasks)]


METRIC = Metric(
    forgetting, cells, version=1, says="mean over tasks j<T−1 of max R[l,j] for j≤l<T−1, less the last R[T−1,j]"
)
