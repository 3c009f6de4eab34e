"""The records of a board on disk: copies of ``run.json``, unedited, each named by the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from continual.board.rules import named
from continual.errors import ContinualError, CorruptError, one_line
from continual.files import write_atomic
from continual.report.record import Record, load
from continual.report.scan import LARGEST, Skipped

FOLDER = "records"
PLACE = "no record: expected a file records/ROW/SHA256.json"


@dataclass(frozen=True)
class Entry:
    """A record of a row, and its file below the board."""

    row: str
    path: Path
    record: Record


def digest(data: bytes) -> str:
    """What ``sha256sum`` prints.

    >>> digest(b"abc")[:8]
    'ba7816bf'
    """
    return hashlib.sha256(data).hexdigest()


def put(board: Path, row: str, data: bytes) -> Path:
    """Write the bytes of a record, atomically."""
    path = board / FOLDER / row / f"{digest(data)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)
    return path


def read(board: Path) -> tuple[list[Entry], list[Skipped]]:
    """All records, by row and name; and what lies there but is none, or was edited, with the reason."""
    entries, skipped = list[Entry](), list[Skipped]()
    for path in _files(board / FOLDER):
        try:
            entries.append(Entry(_row(board, path), path, _read(path)))
        except (ContinualError, ValueError, OSError) as error:
            skipped.append(Skipped(path, one_line(str(error))))
    return entries, skipped


def _files(folder: Path) -> Iterator[Path]:
    """What is hidden is a file that is being written, or was when the power went."""
    for row in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not row.name.startswith("."):
            files = sorted(row.iterdir()) if row.is_dir() else [row]
            yield from (file for file in files if not file.name.startswith("."))


def _row(board: Path, path: Path) -> str:
    if path.parent == board / FOLDER:  # which could be the name of a row
        raise CorruptError(PLACE)
    return named(path.parent.name)


def _read(path: Path) -> Record:
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise CorruptError(PLACE)
    if path.name != f"{digest(path.read_bytes())}.json":
        raise CorruptError(f"edited: its bytes have the SHA-256 {digest(path.read_bytes())}; restore it, or delete it")
    return load(path)
