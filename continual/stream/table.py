"""Reads rows of texts, each perhaps with a label, from CSV, TSV and JSONL files. Standard library only."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from continual.errors import DataError, unknown
from continual.stream.files import lines

Found = tuple[int, Mapping[Any, Any]]  # line number, column -> value


class Row(NamedTuple):
    """``where`` names file and line; ``label`` is as the file has it: a string, or any JSON value."""

    where: str
    texts: tuple[str, ...]
    label: Any


def read_rows(path: str | Path, texts: Sequence[str], label: str | None) -> list[Row]:
    """The columns ``texts`` and ``label`` (None: no column) of all rows; the format follows the extension.

    .csv .tsv .jsonl, in utf-8. CSV and TSV have a header row and follow RFC 4180: a field with a quote in it is quoted,
    quotes doubled. Raises DataError: no such file, unknown extension, no rows, a column that is not there, a row
    without a text, broken quoting, bytes that are not utf-8; with the line number.
    """
    path = Path(path)
    readers = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: {unknown('extension', path.suffix, readers)}")
    columns = [*texts, *([] if label is None else [label])]
    rows: list[Row] = []
    for line, row in readers[path.suffix.lower()](path, lines(path)):
        if not rows and (lost := [column for column in columns if column not in row]):
            raise DataError(f"{path}: {unknown('column', lost[0], row)} (set text= and label= to columns of the file)")
        where = f"{path}, line {line}"
        found = tuple(_text(where, row.get(column), column) for column in texts)
        rows.append(Row(where, found, None if label is None else row.get(label)))
    if not rows:
        raise DataError(f"{path}: no rows; expected at least one with {', '.join(map(repr, columns))}")
    return rows


def read_table(path: str | Path, text: str = "text", label: str = "label") -> list[tuple[str, str]]:
    """(text, label) of all rows. Labels lose the space around them; texts stay as they are.

    JSON numbers and booleans are labels as JSON writes them. Raises DataError as ``read_rows``, and for no label.
    """
    return [(row.texts[0], as_label(row.where, row.label, label)) for row in read_rows(path, [text], label)]


def as_label(where: str, value: object, column: str) -> str:
    """A label as a string without the space around it; DataError for none."""
    if isinstance(value, (bool, int, float)):
        value = json.dumps(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: expected a label in {column!r}, got {value!r:.60}; mend or drop the row")
    return value.strip()


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


def _text(where: str, value: object, column: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a text in {column!r}, got {value!r:.60}; mend or drop the row")
    return value
