"""What was scored, when. Append-only rows of cells; matrices are views of it. numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from continual.files import append_line, read_lines

REFERENCES = ("single", "joint")
"""Stages of cells that are not the run's own: other models answer there (``references.py``)."""


@dataclass(frozen=True)
class Cell:
    """The score on one task's test rows at one moment of a run.

    stage   "zero" (bare encoder, before any training), "learn" (after a task of the stream), or the name of a
            composition or reference: "fusion", "unipelt", "best", "head", "single", "joint"
    after   index of the last task learned; -1 before any. Of references: "single", after = task, a model of that task
            alone; "joint", after = k, one model of tasks 0..k together
    task    index of the task that is tested
    score   in [0, 1], higher is better; None where it is undefined, with the reason in ``why``
    n       test rows; ``low`` and ``high`` bound the 95 % Wilson interval of a proportion
    how     "own": the task's own module and head · "ncm": nearest class mean on the features of the last module
    key     digest of all that the score depends on: two cells with one key have one score
    reused  the score was taken from an earlier cell with the same key, or from a reference run: no row was forwarded
    recall  where answers are classes that are right or wrong: the mean over the classes that the test rows have of the
            share of their rows that are right; ``classes`` is how many they are
    """

    stage: str
    after: int
    task: int
    score: float | None
    n: int
    low: float | None = None
    high: float | None = None
    how: str = "own"
    key: str = ""
    reused: bool = False
    why: str = ""
    recall: float | None = None
    classes: int = 0


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927).

    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.49, 0.943]
    """
    if n == 0:
        return 0.0, 1.0
    p, z2 = right / n, z * z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * ((p * (1 - p) / n + z2 / (4 * n * n)) ** 0.5)
    return max(0.0, middle - half), min(1.0, middle + half)


class Ledger:
    """Cells in the order of their writing. With a ``path``, each added row is on disk before ``add`` returns.

    A line of the file is one row of cells with a checksum: a row is there as a whole or not at all.
    """

    def __init__(self, tasks: Iterable[str], path: Path | None = None) -> None:
        self.tasks = tuple(tasks)
        self.path = path
        self.cells: list[Cell] = []
        self._first: dict[str, Cell] = {}
        if path is not None:
            self._keep(Cell(**cell) for row in read_lines(path) for cell in row)

    def add(self, cells: Iterable[Cell]) -> None:
        cells = tuple(cells)
        if self.path is not None:
            append_line(self.path, [asdict(cell) for cell in cells])
        self._keep(cells)

    def known(self, key: str) -> Cell | None:
        """The first cell with this key; in constant time, for every cell of a run is asked for."""
        return self._first.get(key)

    def _keep(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            self.cells.append(cell)
            self._first.setdefault(cell.key, cell)

    def row(self, stage: str, after: int) -> list[Cell]:
        return [cell for cell in self.cells if cell.stage == stage and cell.after == after]

    def matrix(self, stage: str = "learn") -> NDArray[np.float64]:
        """(T, T) scores, row: after task i, column: on task j; NaN where a cell is missing or undefined."""
        return self._table(stage, lambda cell: cell.score)

    def recall(self) -> NDArray[np.float64]:
        """(T, T) of stage "learn" the means over each task's classes; NaN where there are none."""
        return self._table("learn", lambda cell: cell.recall)

    def classes(self) -> NDArray[np.int64]:
        """(T,) classes that each task's test rows have; 0 where its answers are no classes."""
        return self._most(lambda cell: cell.classes)

    def zero(self) -> NDArray[np.float64]:
        """(T,) scores of the bare encoder before any training; NaN where missing."""
        scores = np.full(len(self.tasks), np.nan)
        for cell in self.cells:
            if cell.stage == "zero" and cell.score is not None:
                scores[cell.task] = cell.score
        return scores

    def counts(self) -> NDArray[np.int64]:
        """(T,) test rows of each task; 0 where a task was never tested."""
        return self._most(lambda cell: cell.n)

    def _table(self, stage: str, of: Callable[[Cell], float | None]) -> NDArray[np.float64]:
        table = np.full((len(self.tasks), len(self.tasks)), np.nan)
        for cell in self.cells:
            if cell.stage == stage and cell.after >= 0 and (value := of(cell)) is not None:
                table[cell.after, cell.task] = value
        return table

    def _most(self, of: Callable[[Cell], int]) -> NDArray[np.int64]:
        """Of each task the largest number that its cells have."""
        found = np.zeros(len(self.tasks), dtype=np.int64)
        for cell in self.cells:
            found[cell.task] = max(found[cell.task], of(cell))
        return found
