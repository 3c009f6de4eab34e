"""Against models that had all tasks at once: what continual learning costs, the rest being equal.

References are rows of the ledger. Stage "joint", after = k: a model that was trained on tasks 0..k together.
"""

from __future__ import annotations

import math

from continual.ledger import Ledger
from continual.metric.base import ZERO, Metric, diagonal, last_row, mean, scores

NOTHING = 1e-9  # far below what one test row of a million weighs


def intransigence(ledger: Ledger) -> float:
    """1/T Σ_k (a_k - R[k][k]), with a_k the score on task k of a model trained on tasks 0..k together.

    In the unit of the scores; above zero: a task is learned worse because others came before it. I_k of Chaudhry et
    al. 2018 after each task k; here its mean over tasks. A task with one of its two cells missing is left
    out; NaN where no pair is there, so without reference runs.

    >>> from continual.metric.base import from_matrix
    >>> intransigence(from_matrix([[0.75, None], [0.5, 0.5]], joint=[[0.75], [0.75, 1.0]]))
    0.25
    """
    table, reference = scores(ledger), ledger.matrix("joint")
    return mean(reference[task, task] - table[task, task] for task in range(len(ledger.tasks)))


def rectified_forgetting(ledger: Ledger) -> float:
    """1/T Σ_i (a_i - R[T-1][i]), with a_i the score on task i of a model trained on all T tasks together.

    In the unit of the scores. F_CIL of Lin et al. 2024 (TPL), appendix C.2. In class-incremental learning accuracy
    falls as classes are added, even where nothing is forgotten; a joint model has the same classes, so it has F_CIL
    = 0. A task with one of its two cells missing is left out; NaN where no pair is there, so without reference runs.

    >>> from continual.metric.base import from_matrix
    >>> rectified_forgetting(from_matrix([[0.75, None], [0.5, 0.5]], joint=[[], [0.75, 0.75]]))
    0.25
    """
    table, reference = scores(ledger), ledger.matrix("joint")
    return mean(reference[cell] - table[cell] for cell in last_row(len(ledger.tasks)))


def forgetting_rate(ledger: Ledger) -> float:
    """1/T Σ_t (R[T-1][t] - b_t) / (a_t - b_t) - 1: the share of what a joint model gains that is missing at the end.

    a_t is the score on task t of a model trained on all T tasks together, b_t that of the row "zero". 0: as good as
    joint; -1: no better than without training. FR of clarena. There b_t is a network with a random head; here it is
    nearest class mean on the bare encoder, as in ``forward_transfer``. A task with one of its three cells missing, or
    whose joint model gains nothing (at most 1e-9), is left out; NaN where none is left, so without reference runs.

    >>> from continual.metric.base import from_matrix
    >>> forgetting_rate(from_matrix([[0.75, None], [0.5, 0.75]], [0.25, 0.25], joint=[[], [0.75, 0.75]]))
    -0.25
    """
    table, reference = scores(ledger), ledger.matrix("joint")
    terms = []
    for cell in last_row(len(ledger.tasks)):
        start = table[ZERO, cell[1]]
        gain = reference[cell] - start
        terms.append((table[cell] - start) / gain if abs(gain) > NOTHING else math.nan)
    return mean(terms) - 1


def last_row_and_zero(tasks: int) -> list[tuple[int, int]]:
    """The last row and the row "zero"."""
    return [(after, task) for task in range(tasks) for after in (tasks - 1, ZERO)]


def on_each(tasks: int) -> list[tuple[str, int, int]]:
    """Of every task k: a model of tasks 0..k."""
    return [("joint", task, task) for task in range(tasks)]


def on_all(tasks: int) -> list[tuple[str, int, int]]:
    """Of every task: the model of all tasks."""
    return [("joint", tasks - 1, task) for task in range(tasks)]


METRICS = (
    Metric(
        intransigence,
        diagonal,
        version=1,
        says="mean over tasks k of the score of a model trained on 0..k together − R[k,k]",
        references=on_each,
        loss=True,
    ),
    Metric(
        rectified_forgetting,
        last_row,
        version=1,
        says="mean over tasks i of the score of a model trained on all together − R[T−1,i]",
        references=on_all,
        loss=True,
    ),
    Metric(
        forgetting_rate,
        last_row_and_zero,
        version=1,
        says="mean over tasks t of (R[T−1,t] − b_t) / (the joint model's score − b_t), less 1",
        references=on_all,
    ),
)
