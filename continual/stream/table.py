"""Reads (text, label) rows from CSV, TSV and JSONL files. Standard library only."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from continual.errors import DataError, unknown

Found = tuple[int, Mapping[Any, Any]]  # line number, column -> value


def read_table(path: str | Path, text: str = "text", label: str = "label") -> list[tuple[str, str]]:
    """The columns ``text`` and ``label`` of all rows; the format follows the extension (.csv .tsv .jsonl), utf-8.

    CSV and TSV have a header row and follow RFC 4180: a field with a quote in it is quoted, quotes doubled. Labels lose
    the space around them; texts stay as they are. JSON numbers and booleans are labels as JSON writes them.
    Raises DataError: no such file, unknown extension, no rows, a column that is not there, a row without a text or a
    label, broken quoting, bytes that are not utf-8; with the line number.
    """
    path = Path(path)
    readers = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: {unknown('extension', path.suffix, readers)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file; paths are relative to the folder the command runs in")
    rows: list[tuple[str, str]] = []
    with open(path, "rb") as file:
        for line, row in readers[path.suffix.lower()](path, _decoded(path, file)):
            if not rows and (lost := [column for column in (text, label) if column not in row]):
                raise DataError(f"{path}: {unknown('column', lost[0], row)} (set text= and label= to two of them)")
            rows.append((_text(path, line, row.get(text), text), _label(path, line, row.get(label), label)))
    if not rows:
        raise DataError(f"{path}: no rows; expected at least one with {text!r} and {label!r}")
    return rows


def _decoded(path: Path, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}, line {number}: not utf-8 (byte {line[error.start]:#04x}); save the file as utf-8"
            ) from None


def _csv(path: Path, lines: Iterable[str], delimiter: str = ",") -> Iterator[Found]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1  # where the row begins: a quoted field may hold line ends
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}, in the row that begins at line {line}: {error}; quote fields that hold quotes or line ends, "
                "double the quotes inside, and look for a quote that is never closed"
            ) from None
        if header is None:
            header = row
        elif len(row) > len(header):
            raise DataError(
                f"{path}, line {line}: expected {len(header)} fields ({', '.join(header)}), got {len(row)}; "
                "quote fields that hold the delimiter"
            )
        elif row:
            yield line, dict.fromkeys(header) | dict(zip(header, row, strict=False))


def _tsv(path: Path, lines: Iterable[str]) -> Iterator[Found]:
    return _csv(path, lines, delimiter="\t")


def _jsonl(path: Path, lines: Iterable[str]) -> Iterator[Found]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}); expected one object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
        yield number, row


def _text(path: Path, line: int, value: object, column: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{path}, line {line}: expected a text in {column!r}, got {value!r:.60}; mend or drop the row")
    return value


def _label(path: Path, line: int, value: object, column: str) -> str:
    if isinstance(value, (bool, int, float)):
        value = json.dumps(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{path}, line {line}: expected a label in {column!r}, got {value!r:.60}; mend or drop the row")
    return value.strip()
