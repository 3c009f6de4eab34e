"""Bytes on disk: atomic writes, digests, canonical JSON. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from continual.errors import ContinualError, CorruptError


def canonical(value: Any) -> bytes:
    """One byte string per value: keys sorted, no spaces, NaN refused.

    >>> canonical({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def sha256(*parts: bytes | memoryview) -> str:
    """Hex digest of the parts, each with its length before it, so that ("ab", "c") and ("a", "bc") differ."""
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "big"))
        h.update(part)
    return h.hexdigest()


def sha256_of(parts: Iterable[Callable[[], Iterable[bytes]]]) -> str:
    """As ``sha256``, of parts too long to be held: each is a function that gives its pieces, and is called twice.

    >>> sha256_of([lambda: [b"a", b"b"], lambda: [b"c"]]) == sha256(b"ab", b"c")
    True
    """
    h = hashlib.sha256()
    for part in parts:
        h.update(sum(map(len, part())).to_bytes(8, "big"))
        for piece in part():
            h.update(piece)
    return h.hexdigest()


def canonical_list(values: Iterable[Any], at_once: int = 100) -> Iterator[bytes]:
    """``canonical`` of a list, in pieces, so that it is never held as a whole.

    >>> b"".join(canonical_list([1, "a", None], at_once=2))
    b'[1,"a",null]'
    """
    values, begin = iter(values), b"["
    while held := list(islice(values, at_once)):
        yield begin + canonical(held)[1:-1]
        begin = b","
    yield b"]" if begin == b"," else b"[]"


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut (a no-op where folders cannot be opened)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_synced(path: Path, data: bytes) -> None:
    """Write and fsync; not atomic by itself: for files inside a folder that is renamed as a whole."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(path: Path, data: bytes) -> None:
    """All of ``data`` or the old file: temp file in the target folder, fsync, rename, fsync of the folder."""
    temp = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write_synced(temp, data)
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """An indented JSON file for people to read, written atomically; NaN refused."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, text.encode("utf-8"))


def append_line(path: Path, value: Any) -> None:
    """Add one JSON line with its checksum; it is on disk when this returns."""
    line = canonical({"value": value, "sha256": sha256(canonical(value))}) + b"\n"
    with open(path, "ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def read_lines(path: Path) -> list[Any]:
    """The values that ``append_line`` wrote. A torn last line (the process was killed while writing) is cut off.

    Raises CorruptError for a damaged line before it.
    """
    values, torn = _lines(path)
    if torn:
        with open(path, "rb+") as file:
            file.truncate(path.stat().st_size - torn)
    return values


def peek_lines(path: Path) -> list[Any]:
    """As ``read_lines``, of a file that another process may be writing to: it is left as it is."""
    return _lines(path)[0]


def _lines(path: Path) -> tuple[list[Any], int]:
    """The values of whole lines, and how many bytes follow the last newline: 0 unless a write was cut short."""
    if not path.exists():
        return [], 0
    lines = path.read_bytes().split(b"\n")
    torn = len(lines.pop())
    values = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            good = entry["sha256"] == sha256(canonical(entry["value"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            good = False
        if not good:
            raise CorruptError(f"{path}, line {number}: checksum does not match; restore it or delete its folder")
        values.append(entry["value"])
    return values, torn


def require_writable(folder: Path) -> None:
    """Create ``folder`` and prove that a file can be written there, before any work is spent on what goes into it.

    Raises ContinualError where none can.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temp = tempfile.mkstemp(dir=folder, prefix=".probe.")
        os.close(handle)
        os.unlink(temp)
    except OSError as error:
        raise ContinualError(
            f"cannot write to {folder} ({error.strerror}); choose another folder with paths.runs=… and paths.store=…"
        ) from error
