"""How bad it got: the lowest score of each task since it was learned."""

from __future__ import annotations

import math

from continual.ledger import Ledger
from continual.metric.base import Metric, last_row, lower_triangle, mean, scores


def minimum_accuracy(ledger: Ledger) -> float:
    """1/(T-1) Σ_{i<T-1} min_{i<l≤T-1} R[l][i]: the lowest score of each earlier task after it was learned.

    In the unit of the scores. min-ACC of De Lange et al. 2023 ("Continual evaluation for lifelong learning").
    There the minimum is over every step of the training; a ledger has a row a task, and misses the drop between two
    rows (the stability gap): it is an upper bound of theirs. The minimum is over the cells that are there; a task
    without any is left out; NaN where none is left, so for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> minimum_accuracy(from_matrix([[0.75, None, None], [0.25, 0.75, None], [0.5, 0.5, 0.5]]))
    0.375
    """
    return mean(lowest(ledger))


def worst_case_accuracy(ledger: Ledger) -> float:
    """1/T R[T-1][T-1] + (1 - 1/T) min-ACC: the newest task as it is, the earlier ones at their worst.

    In the unit of the scores. WC-ACC of De Lange et al. 2023, from a row a task, as ``minimum_accuracy``. It
    is the mean over tasks of the newest one's score and the others' lowest; a task without a cell is left out of it;
    NaN where none is left. For T = 1 it is R[0][0].

    >>> from continual.metric.base import from_matrix
    >>> worst_case_accuracy(from_matrix([[0.75, None, None], [0.25, 0.75, None], [0.5, 0.5, 0.75]]))
    0.5
    """
    table, last = scores(ledger), len(ledger.tasks) - 1
    newest = [float(table[last, last])] if ledger.tasks else []
    return mean([*lowest(ledger), *newest])


def lowest(ledger: Ledger) -> list[float]:
    """Of every task but the last: its lowest score in the rows after the one in which it was learned; NaN if none."""
    table, tasks = scores(ledger), len(ledger.tasks)
    columns = [table[task + 1 : tasks, task].tolist() for task in range(tasks - 1)]
    return [min((score for score in column if not math.isnan(score)), default=math.nan) for column in columns]


def after_learning(tasks: int) -> list[tuple[int, int]]:
    """The lower triangle without its diagonal."""
    return [(after, task) for after, task in lower_triangle(tasks) if after > task]


def with_newest(tasks: int) -> list[tuple[int, int]]:
    """The same and the last cell of the diagonal."""
    return [*after_learning(tasks), *last_row(tasks)[-1:]]


METRICS = (
    Metric(minimum_accuracy, after_learning, version=1, says="mean over tasks i<T−1 of min R[l,i] for i<l≤T−1"),
    Metric(
        worst_case_accuracy,
        with_newest,
        version=1,
        says="mean over tasks of R[T−1,T−1] and of min R[l,i] for i<l≤T−1: the newest as it is, the others at worst",
    ),
)
