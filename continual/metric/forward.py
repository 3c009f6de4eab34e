"""What earlier tasks do for a task that comes after them: before it is learned, or when it is."""

from __future__ import annotations

from continual.ledger import Ledger
from continual.metric.base import ZERO, Metric, mean, scores


def forward_transfer(ledger: Ledger) -> float:
    """1/(T-1) Σ_{i≥1} (R[i-1][i] - b_i), with b the row "zero"; above zero: earlier tasks help before any training.

    In the unit of the scores. FWT of Lopez-Paz & Ranzato 2017 (GEM), eq. 4. There both terms go through the head of
    an untrained network. A task that was not learned has no head here: R[i-1][i] is nearest class mean on the
    features of the module just learned, b_i nearest class mean on those of the bare encoder. So this measures
    features, not the luck of a random head, and its values are not comparable with those of frameworks that score
    a random head. A task with one of its two cells missing is left out of the mean; NaN where no pair is there, so
    for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forward_transfer(from_matrix([[0.75, 0.5, None], [0.75, 0.75, 0.25], [0.75, 0.75, 0.75]], [0.5, 0.25, 0.5]))
    0.0
    """
    table = scores(ledger)
    return mean(table[task - 1, task] - table[ZERO, task] for task in range(1, len(ledger.tasks)))


def forward_transfer_without_baseline(ledger: Ledger) -> float:
    """1/(T-1) Σ_{i≥1} R[i-1][i]: the score on each task just before it is learned, with nothing taken off.

    In the unit of the scores. GEM's eq. 4 without b. Continuum drops b too, but its ``forward_transfer`` (1.2.7)
    means all R[i][j] with i > j, the rows *after* a task was learned; that is no forward transfer. A missing cell is
    left out; NaN where none is there, so for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forward_transfer_without_baseline(from_matrix([[0.75, 0.5, None], [0.75, 0.75, 0.25], [0.75, 0.75, 0.75]]))
    0.375
    """
    table = scores(ledger)
    return mean(table[cell] for cell in before(len(ledger.tasks)))


def forward_transfer_all_pairs(ledger: Ledger) -> float:
    """Σ_{i<j} R[i][j] / (T(T-1)/2), the mean of the upper triangle, without its diagonal.

    In the unit of the scores. FWT of Díaz-Rodríguez et al. 2018, the source that Continuum means. A missing
    cell is left out; NaN where none is there, so for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forward_transfer_all_pairs(from_matrix([[0.75, 0.5, 0.25], [0.75, 0.75, 0.75], [0.75, 0.75, 0.75]]))
    0.5
    """
    table = scores(ledger)
    return mean(table[cell] for cell in upper_triangle(len(ledger.tasks)))


def forward_transfer_over_single(ledger: Ledger) -> float:
    """1/(T-1) Σ_{i≥1} (R[i][i] - a_i), with a_i the score of a model of task i alone: do earlier tasks help to learn?

    In the unit of the scores. FWT of clarena and of the CITB family (Zhang et al. 2023). a_i is the cell of stage
    "single" with after = task = i. A task with one of its two cells missing is left out; NaN where no pair is there,
    so without reference runs, and for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> forward_transfer_over_single(from_matrix([[0.75, None], [0.5, 1.0]], single=[0.75, 0.5]))
    0.5
    """
    table, alone = scores(ledger), ledger.matrix("single")
    return mean(table[task, task] - alone[task, task] for task in range(1, len(ledger.tasks)))


def before(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the first: the row before it was learned."""
    return [(task - 1, task) for task in range(1, tasks)]


def before_and_zero(tasks: int) -> list[tuple[int, int]]:
    """Of every task but the first: the row before it was learned and the row "zero"."""
    return [(after, task) for task in range(1, tasks) for after in (task - 1, ZERO)]


def upper_triangle(tasks: int) -> list[tuple[int, int]]:
    """Of every task: all rows before it was learned."""
    return [(after, task) for task in range(tasks) for after in range(task)]


def learned(tasks: int) -> list[tuple[int, int]]:
    """The diagonal without its first cell."""
    return [(task, task) for task in range(1, tasks)]


def alone(tasks: int) -> list[tuple[str, int, int]]:
    """Of every task but the first: a model of it alone."""
    return [("single", task, task) for task in range(1, tasks)]


METRICS = (
    Metric(
        forward_transfer,
        before_and_zero,
        version=1,
        says="mean over tasks i≥1 of R[i−1,i] − b_i, both by nearest class mean",
    ),
    Metric(forward_transfer_without_baseline, before, version=1, says="mean over tasks i≥1 of R[i−1,i]"),
    Metric(forward_transfer_all_pairs, upper_triangle, version=1, says="mean of all R[i,j] with i<j"),
    Metric(
        forward_transfer_over_single,
        learned,
        version=1,
        says="mean over tasks i≥1 of R[i,i] − the score of a model of task i alone",
        references=alone,
    ),
)
