"""How good the learner is on what it has seen, over the whole stream and not only at its end."""

from __future__ import annotations

from itertools import pairwise

from continual.ledger import Ledger
from continual.metric.base import Metric, lower_triangle, mean, scores, weighted_mean


def average_incremental_accuracy_macro(ledger: Ledger) -> float:
    """1/T Σ_t A_t, with A_t = 1/(t+1) Σ_{j≤t} R[t][j], the mean over the tasks seen so far.

    In the unit of the scores. The "average incremental accuracy" of Rebuffi et al. 2017 (iCaRL) with a
    mean over tasks at each stage. A missing cell is left out of its stage's mean, a stage without cells of the mean
    over stages; NaN where no cell is there.

    >>> from continual.metric.base import from_matrix
    >>> average_incremental_accuracy_macro(from_matrix([[0.75, None], [0.5, 0.75]]))
    0.6875
    """
    return mean(stages(ledger))


def average_incremental_accuracy_micro(ledger: Ledger) -> float:
    """1/T Σ_t Σ_{j≤t} n_j R[t][j] / Σ_{j≤t} n_j, with n_j the test rows of task j.

    "Average Accuracy" of PyCIL and PILOT, which first round each stage to two decimals of a percent; we do not. It
    is the macro variant where all tasks have as many rows. Missing cells as there; NaN where nobody wrote down how
    many rows there are.

    >>> from continual.metric.base import from_matrix
    >>> average_incremental_accuracy_micro(from_matrix([[0.75, None], [0.5, 0.75]], counts=[300, 100]))
    0.65625
    """
    table, counts = scores(ledger), ledger.counts()
    seen = range(1, len(ledger.tasks) + 1)
    return mean(weighted_mean(table[count - 1, :count], counts[:count]) for count in seen)


def triangle_accuracy(ledger: Ledger) -> float:
    """Σ_{j≤i} R[i][j] / (T(T+1)/2), the mean of the lower triangle with its diagonal.

    In the unit of the scores. A of Díaz-Rodríguez et al. 2018; Continuum's ``accuracy_A``. Late stages weigh
    more than in the incremental accuracies: they have more cells. A missing cell is left out; NaN where none is
    there.

    >>> from continual.metric.base import from_matrix
    >>> triangle_accuracy(from_matrix([[0.75, None], [0.5, 0.25]]))
    0.5
    """
    table = scores(ledger)
    return mean(table[cell] for cell in lower_triangle(len(ledger.tasks)))


def area_under_curve(ledger: Ledger) -> float:
    """1/(T-1) Σ_{t<T-1} (A_t + A_{t+1})/2, with A_t = 1/(t+1) Σ_{j≤t} R[t][j].

    In the unit of the scores. The area (trapezoids) under the curve of the mean accuracy on the tasks seen so far,
    drawn over the stages 0 to T-1 and divided by its width. It is the macro incremental accuracy with half the
    weight on the first and the last stage. The curve has a point a stage: the area under one that is drawn step by
    step of the training (A_AUC of Koh et al. 2022) is another number. A piece with an end missing is left out of the
    mean; NaN where no piece is there, so for T = 1.

    >>> from continual.metric.base import from_matrix
    >>> area_under_curve(from_matrix([[1.0, None, None], [0.5, 0.5, None], [0.25, 0.25, 0.25]]))
    0.5625
    """
    return mean((before + after) / 2 for before, after in pairwise(stages(ledger)))


def pieces(tasks: int) -> list[tuple[int, int]]:
    """The lower triangle; a curve of one stage has no piece."""
    return lower_triangle(tasks) if tasks > 1 else []


def stages(ledger: Ledger) -> list[float]:
    """A_t of every stage t: the mean over the tasks seen so far."""
    table = scores(ledger)
    return [mean(table[stage, : stage + 1].tolist()) for stage in range(len(ledger.tasks))]


METRICS = (
    Metric(
        average_incremental_accuracy_macro,
        lower_triangle,
        version=1,
        says="mean over stages t of the mean over tasks j≤t of R[t,j]",
    ),
    Metric(
        average_incremental_accuracy_micro,
        lower_triangle,
        version=1,
        says="mean over stages t of the mean of R[t,j] over j≤t, weighted by the test rows of task j",
    ),
    Metric(triangle_accuracy, lower_triangle, version=1, says="mean of all R[i,j] with j≤i"),
    Metric(
        area_under_curve,
        pieces,
        version=1,
        says="area under the mean of R[t,j] over j≤t, drawn over the stages t, divided by T−1",
    ),
)
