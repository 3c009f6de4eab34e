"""What a metric is, and all metrics of this folder at once.

The folder is the registry: a file is an idea, its ``METRICS`` are the formulas that people have for it.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

import continual.metric
from continual.ledger import Cell, Ledger

ZERO = -1  # the row before any training: its index in ``scores`` and the ``after`` of its cells


def no_references(tasks: int) -> list[tuple[str, int, int]]:
    """Of a metric that reads one run and nothing else."""
    return []


def scores(ledger: Ledger) -> NDArray[np.float64]:
    """(T+1, T): row i after task i, column j on task j, and last, so that its index is -1, the bare encoder's row.

    T is the length of the stream, not what was learned so far: an unfinished run has missing cells, it is never
    silently scored as a shorter stream.
    """
    return np.vstack([ledger.matrix(), ledger.zero()])


@dataclass(frozen=True)
class Measured:
    """A metric of one ledger.

    value       None where it is undefined: one task has no backward transfer, no cell is there to average
    definition  name and version of the formula, "backward_transfer@1"
    missing     cells that the formula reads and that have no number: they were left out, never filled in
    """

    value: float | None
    definition: str
    missing: int


@dataclass(frozen=True)
class Metric:
    """A formula with what is needed to name it and to count what it lacked.

    formula     pure function of a ledger, in the unit of the scores; NaN where undefined
    cells       for T tasks, the (after, task) of every cell the formula reads, each once; ``after`` is -1 in row "zero"
    version     raised whenever the same cells can give another number
    says        the formula in one line, for people
    references  for T tasks, the (stage, after, task) of every cell of other models that the formula reads, each once:
                stage "single", after = task: a model of that task alone; "joint", after = k: one of tasks 0..k together
    loss        lower is better
    table       of a ledger the numbers that the formula reads in its cells, NaN where there is none: the scores, or
                (T, T) others
    """

    formula: Callable[[Ledger], float]
    cells: Callable[[int], list[tuple[int, int]]]
    version: int
    says: str
    references: Callable[[int], list[tuple[str, int, int]]] = no_references
    loss: bool = False
    table: Callable[[Ledger], NDArray[np.float64]] = scores

    @property
    def name(self) -> str:
        """Of the function: there is no second place to keep in step."""
        return self.formula.__name__

    @property
    def definition(self) -> str:
        """What makes two values comparable."""
        return f"{self.name}@{self.version}"

    def measure(self, ledger: Ledger) -> Measured:
        """The formula's value, and how many of its cells have no number."""
        value, table, tasks = self.formula(ledger), self.table(ledger), len(ledger.tasks)
        missing = sum(math.isnan(table[cell]) for cell in self.cells(tasks))
        references = self.references(tasks)
        tables = {stage: ledger.matrix(stage) for stage, _, _ in references}
        missing += sum(math.isnan(tables[stage][after, task]) for stage, after, task in references)
        return Measured(None if math.isnan(value) else value, self.definition, missing)


def mean(terms: Iterable[float]) -> float:
    """Of the terms that are there; NaN where none is.

    >>> mean([0.5, math.nan, 1.0]), mean([])
    (0.75, nan)
    """
    there = [float(term) for term in terms if not math.isnan(term)]
    return math.fsum(there) / len(there) if there else math.nan


def weighted_mean(terms: Sequence[float] | NDArray[Any], weights: Sequence[float] | NDArray[Any]) -> float:
    """Of the terms that are there; NaN where none is, or none has a weight above 0.

    >>> weighted_mean([0.5, math.nan, 1.0], [3, 9, 1]), weighted_mean([0.5], [0])
    (0.625, nan)
    """
    there = [(float(term), float(weight)) for term, weight in zip(terms, weights, strict=True) if not math.isnan(term)]
    total = math.fsum(weight for _, weight in there)
    return math.fsum(term * weight for term, weight in there) / total if total else math.nan


def last_row(tasks: int) -> list[tuple[int, int]]:
    """Every task after the last one."""
    return [(tasks - 1, task) for task in range(tasks)]


def diagonal(tasks: int) -> list[tuple[int, int]]:
    """Every task right after it was learned."""
    return [(task, task) for task in range(tasks)]


def lower_triangle(tasks: int) -> list[tuple[int, int]]:
    """After every task, all that were learned so far: the diagonal belongs to it."""
    return [(after, task) for after in range(tasks) for task in range(after + 1)]


def from_matrix(
    rows: Sequence[Sequence[float | None]],
    zero: Sequence[float | None] = (),
    counts: Sequence[int] = (),
    single: Sequence[float | None] = (),
    joint: Sequence[Sequence[float | None]] = (),
    classes: Sequence[int] = (),
) -> Ledger:
    """A ledger of scores that were made elsewhere, a published matrix for instance; None: not scored.

    zero    (T,) before any training
    counts  (T,) test rows; without them nothing can be weighted by rows
    single  (T,) each by a model of that task alone
    joint   row k: by a model of tasks 0..k together
    classes  (T,) of each task, all with as many test rows, so that their mean is the score; without them it has none

    >>> from_matrix([[0.9, None], [0.8, 0.7]]).matrix()
    array([[0.9, nan],
           [0.8, 0.7]])
    """
    ledger = Ledger(f"task {number}" for number in range(len(rows)))
    tables = [("zero", ZERO, zero), *(("learn", after, row) for after, row in enumerate(rows))]
    tables += [("single", task, [None] * task + [score]) for task, score in enumerate(single)]
    tables += [("joint", after, row) for after, row in enumerate(joint)]
    for stage, after, row in tables:
        of = [(task, score) for task, score in enumerate(row) if score is not None]
        for task, score in of:
            by_class = {"recall": score, "classes": classes[task]} if classes else {}
            ledger.add([Cell(stage, after, task, score, n=counts[task] if counts else 0, **by_class)])
    return ledger


@cache
def metrics() -> dict[str, Metric]:
    """By name, all ``METRICS`` of the files in this folder.

    >>> metrics()["average_accuracy"].definition
    'average_accuracy@1'
    """
    files = sorted(module.name for module in pkgutil.iter_modules(continual.metric.__path__))
    found = [import_module(f"continual.metric.{file}").METRICS for file in files if file != "base"]
    return {metric.name: metric for file in found for metric in file}


def measure(ledger: Ledger) -> dict[str, Measured]:
    """All metrics of one ledger.

    >>> measure(from_matrix([[0.9, None], [0.8, 0.7]]))["backward_transfer"]
    Measured(value=-0.09999999999999998, definition='backward_transfer@1', missing=0)
    """
    return {name: metric.measure(ledger) for name, metric in metrics().items()}
