"""What a metric is, and all metrics of this folder at once. The folder is the registry: one file, one ``METRIC``."""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

import continual.metric
from continual.ledger import Cell, Ledger

ZERO = -1  # the row before any training: its index in ``scores`` and the ``after`` of its cells


@dataclass(frozen=True)
class Measured:
    """A metric of one ledger.

    value       None where it is undefined: one task has no backward transfer, no cell is there to average
    definition  name and version of the formula, "backward_transfer@1"
    missing     cells that the formula reads and that have no score: they were left out, never filled in
    """

    value: float | None
    definition: str
    missing: int


@dataclass(frozen=True)
class Metric:
    """A formula with what is needed to name it and to count what it lacked.

    formula  pure function of a ledger, in the unit of the scores; NaN where undefined
    cells    for T tasks, the (after, task) of every cell the formula reads, each once; ``after`` is -1 in row "zero"
    version  raised whenever the same cells can give another number
    says     the formula in one line, for people
    """

    formula: Callable[[Ledger], float]
    cells: Callable[[int], list[tuple[int, int]]]
    version: int
    says: str

    @property
    def name(self) -> str:
        """Of the function: there is no second place to keep in step."""
        return self.formula.__name__

    @property
    def definition(self) -> str:
        """What makes two values comparable."""
        return f"{self.name}@{self.version}"

    def measure(self, ledger: Ledger) -> Measured:
        """The formula's value, and how many of its cells have no score."""
        value = self.formula(ledger)
        table = scores(ledger)
        missing = sum(math.isnan(table[cell]) for cell in self.cells(len(ledger.tasks)))
        return Measured(None if math.isnan(value) else value, self.definition, missing)


def scores(ledger: Ledger) -> NDArray[np.float64]:
    """(T+1, T): row i after task i, column j on task j, and last, so that its index is -1, the bare encoder's row.

    T is the length of the stream, not what was learned so far: an unfinished run has missing cells, it is never
    silently scored as a shorter stream.
    """
    return np.vstack([ledger.matrix(), ledger.zero()])


def mean(terms: Iterable[float]) -> float:
    """Of the terms that are there; NaN where none is.

    >>> mean([0.5, math.nan, 1.0]), mean([])
    (0.75, nan)
    """
    there = [float(term) for term in terms if not math.isnan(term)]
    return math.fsum(there) / len(there) if there else math.nan


def from_matrix(rows: Sequence[Sequence[float | None]], zero: Sequence[float | None] = ()) -> Ledger:
    """A ledger of scores that were made elsewhere, a published matrix for instance; None: not scored.

    >>> from_matrix([[0.9, None], [0.8, 0.7]]).matrix()
    array([[0.9, nan],
           [0.8, 0.7]])
    """
    ledger = Ledger(f"task {number}" for number in range(len(rows)))
    for after, row in enumerate([zero, *rows], ZERO):
        stage = "zero" if after == ZERO else "learn"
        ledger.add(Cell(stage, after, task, score, n=0) for task, score in enumerate(row) if score is not None)
    return ledger


@cache
def metrics() -> dict[str, Metric]:
    """By name, every ``METRIC`` of a file in this folder.

    >>> sorted(metrics())[:2]
    ['average_accuracy', 'backward_transfer']
    """
    files = sorted(module.name for module in pkgutil.iter_modules(continual.metric.__path__))
    found = [import_module(f"continual.metric.{file}").METRIC for file in files if file != "base"]
    return {metric.name: metric for metric in found}


def measure(ledger: Ledger) -> dict[str, Measured]:
    """All metrics of one ledger.

    >>> measure(from_matrix([[0.9, None], [0.8, 0.7]]))["backward_transfer"]
    Measured(value=-0.09999999999999998, definition='backward_transfer@1', missing=0)
    """
    return {name: metric.measure(ledger) for name, metric in metrics().items()}
