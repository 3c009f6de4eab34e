"""Reads rows of texts, each perhaps with a label, from CSV, TSV and JSONL files, a row at a time."""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from continual.errors import DataError, unknown
from continual.stream.files import Lines
from continual.stream.stored import Stored, Text

Found = tuple[int, int, Mapping[Any, Any]]  # line number, byte at which the row begins, column -> value


class Row(NamedTuple):
    """``where`` names file and line; ``label`` is as the file has it: a string, or any JSON value."""

    where: str
    at: int
    texts: tuple[str, ...]
    label: Any


def read_rows(path: str | Path, texts: Sequence[str], label: str | None) -> Iterator[Row]:
    """The columns ``texts`` and ``label`` (None: no column) of all rows, in turn; the format follows the extension.

    .csv .tsv .jsonl, in utf-8. CSV and TSV have a header row and follow RFC 4180: a field with a quote in it is quoted,
    quotes doubled. Raises DataError: no such file, unknown extension, no rows, a column that is not there, a row
    without a text, broken quoting, bytes that are not utf-8; with the line number.
    """
    reader = _reader(path)
    columns = [*texts, *([] if label is None else [label])]
    empty = True
    with Lines(path) as source:
        for line, at, row in reader(source):
            if empty and (lost := [column for column in columns if column not in row]):
                raise DataError(
                    f"{path}: {unknown('column', lost[0], row)} (set text= and label= to columns of the file)"
                )
            empty, where = False, f"{path}, line {line}"
            found = tuple(as_text(where, row.get(column), column) for column in texts)
            yield Row(where, at, found, None if label is None else row.get(label))
    if empty:
        raise DataError(f"{path}: no rows; expected at least one with {', '.join(map(repr, columns))}")


def stored(
    path: str | Path,
    texts: Sequence[str],
    label: str | None,
    answer: Callable[[Row], Any],
    shape: Callable[[tuple[str, ...]], Text],
) -> Stored:
    """All rows, read and checked once (``read_rows``), and then left in the file: ``answer`` gives a row's label.

    ``shape`` makes a row's text of the columns ``texts``. Held are 16 bytes a row, and the labels. Raises DataError as
    ``read_rows``; when a row is read later, for a file that was written to in the meantime.
    """
    places, labels = array("q"), []
    _reader(path)  # an unknown extension is said even of a file that is not there
    with Lines(path) as source:
        state = source.state()
    for row in read_rows(path, texts, label):
        places.append(row.at)
        labels.append(answer(row))
    read = partial(_texts, path, state, tuple(texts), shape)
    return Stored(read, np.frombuffer(places, dtype=np.int64), labels)


def _texts(
    path: str | Path,
    state: tuple[int, int],
    columns: tuple[str, ...],
    shape: Callable[[tuple[str, ...]], Text],
    places: NDArray[np.int64],
) -> Iterator[Text]:
    with Lines(path) as source:
        if source.state() != state:
            raise DataError(f"{path}: written to since its rows were checked; leave it as it is while it is used")
        found = _reader(path)(source)
        for at in places:
            source.go(int(at))
            row = next(found)[-1]
            yield shape(tuple(row[column] for column in columns))


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


def as_text(where: str, value: object, column: str) -> str:
    """The value itself; DataError where it is no string."""
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a text in {column!r}, got {value!r:.60}; mend or drop the row")
    return value


def _reader(path: str | Path) -> Callable[[Lines], Iterator[Found]]:
    readers = {".csv": _csv, ".tsv": partial(_csv, delimiter="\t"), ".jsonl": _jsonl}
    suffix = Path(path).suffix
    if suffix.lower() not in readers:
        raise DataError(f"{path}: {unknown('extension', suffix, readers)}")
    return readers[suffix.lower()]


def _csv(source: Lines, delimiter: str = ",") -> Iterator[Found]:
    """The header is read now, so that the source may go to any row."""
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    header = _record(source, reader)
    return iter(()) if header is None else _below(source, reader, header)


def _below(source: Lines, reader: Iterator[list[str]], header: list[str]) -> Iterator[Found]:
    while True:
        line, at = source.number + 1, source.at  # where the row begins: a quoted field may hold line ends
        row = _record(source, reader)
        if row is None:
            return
        if len(row) > len(header):
            raise DataError(
                f"{source.path}, line {line}: expected {len(header)} fields ({', '.join(header)}), got {len(row)}; "
                "quote fields that hold the delimiter"
            )
        if row:
            yield line, at, dict.fromkeys(header) | dict(zip(header, row, strict=False))


def _record(source: Lines, reader: Iterator[list[str]]) -> list[str] | None:
    line = source.number + 1
    try:
        return next(reader, None)
    except csv.Error as error:
        raise DataError(
            f"{source.path}, in the row that begins at line {line}: {error}; quote fields that hold quotes or line "
            "ends, double the quotes inside, and look for a quote that is never closed"
        ) from None


def _jsonl(source: Lines) -> Iterator[Found]:
    while True:
        at, line = source.at, next(source, None)
        if line is None:
            return
        if not line.strip():
            continue
        where = f"{source.path}, line {source.number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON ({error}); expected one object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected an object, got {type(row).__name__}")
        yield source.number, at, row
