"""What came of each test row, beside the ledger: the statistics whose sum is a cell's score, so that two runs can be
compared on the same rows (``report/versus.py``) without answering again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from continual.errors import CorruptError
from continual.files import write_atomic
from continual.score.base import Floats

SMALL = (np.uint8, np.float32, np.float64)
"""Right or wrong fits in a byte; what holds the numbers exactly is taken."""

LONGEST = 64
"""Characters of a key: those of a SHA-256."""


@dataclass(frozen=True)
class Outcome:
    """Of one cell.

    stats   (n, k) statistics of the task's n test rows, in their order (``continual/score/base.py``)
    score   whose statistics they are
    rows    digest of the test rows: two outcomes are paired only where it is equal
    """

    stats: Floats
    score: str
    rows: str


@dataclass(frozen=True)
class Outcomes:
    """Of the run in ``folder``: a file a cell, named by the cell's key. Written before the ledger's line."""

    folder: Path

    def put(self, key: str, outcome: Outcome) -> None:
        """All of the file or none; what was there had the same key, and so the same content."""
        kind = next(kind for kind in SMALL if _holds(kind, outcome.stats))
        facts = {"score": outcome.score, "rows": outcome.rows}
        self._path(key).parent.mkdir(exist_ok=True)
        write_atomic(self._path(key), save({"stats": outcome.stats.astype(kind)}, facts))

    def get(self, key: str) -> Outcome | None:
        """None where no row was kept: a reference's cell, or a run of before they were.

        Raises CorruptError for a file that was not written here.
        """
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, "np") as file:
                facts, stats = file.metadata() or {}, file.get_tensor("stats")
            if stats.ndim != 2:
                raise ValueError(f"expected a table of test rows by statistics, got shape {stats.shape}")
            return Outcome(stats.astype(np.float64), facts["score"], facts["rows"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CorruptError(f"{path} is not what a run writes: {error}") from error

    def _path(self, key: str) -> Path:
        """Raises CorruptError for a key that is no digest: it comes from a file, and must not lead elsewhere."""
        if not (key.isalnum() and key.isascii() and len(key) <= LONGEST):
            raise CorruptError(f"{key!r} is no key of a cell: expected a digest")
        return self.folder / "rows" / f"{key}.safetensors"


def _holds(kind: type[np.generic], stats: Floats) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.array_equal(stats.astype(kind).astype(np.float64), stats, equal_nan=True))
