"""Over all stages, with the same weight for each class of the stream and not for each task or row."""

from __future__ import annotations

from continual.ledger import Ledger
from continual.metric.base import Metric, lower_triangle, mean, weighted_mean


def average_mean_class_accuracy(ledger: Ledger) -> float:
    """1/T Σ_t Σ_{j≤t} C_j m[t][j] / Σ_{j≤t} C_j, with C_j the classes of task j and m[t][j] their mean accuracy.

    The accuracy of a class is the share of its test rows that are right. Where no class is of two tasks, each stage's
    term is the mean over the classes learned so far, and this is AMCA of Avalanche (``amca.py``) without task labels,
    evaluated on the tasks so far. Evaluated on all tasks Avalanche has the classes to come in its mean too, each at 0
    where no head has them; with task labels it has one number a task. Here a class of several tasks counts once for
    each of them, on that task's rows.

    The macro incremental accuracy where all tasks have as many classes, and all classes as many rows. A missing cell is
    left out of its stage's mean, a stage without cells of the mean over stages; NaN where no cell is there, so where
    answers are no classes, or judged by another score than accuracy.

    >>> from continual.metric.base import from_matrix
    >>> average_mean_class_accuracy(from_matrix([[1.0, None], [0.5, 0.75]], classes=[4, 12]))
    0.84375
    """
    table, classes = ledger.recall(), ledger.classes()
    seen = range(1, len(ledger.tasks) + 1)
    return mean(weighted_mean(table[count - 1, :count], classes[:count]) for count in seen)


METRICS = (
    Metric(
        average_mean_class_accuracy,
        lower_triangle,
        version=1,
        says="mean over stages t of the mean accuracy of the classes of tasks j≤t, each with the same weight",
        table=Ledger.recall,
    ),
)
