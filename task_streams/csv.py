"""Your own tables as a stream: one task a file, or explicit splits; CSV, TSV or JSONL with columns of text and labels.

Licence and sizes: those of your files. On the command line alone:

    continual run stream=csv 'stream.files=[support.csv,reviews.tsv]'
    continual run stream=csv 'stream.files={support: {train: a.csv, test: b.csv}}'
    continual run stream=csv 'stream.files=[sts.csv]' 'stream.text=[first,second]' stream.head=regress
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from continual.errors import DataError, unknown
from continual.stream.base import Task
from continual.stream.files import complete, require_known, sources
from continual.stream.stored import Stored
from continual.stream.table import Row, as_label, stored

COLUMNS = {"classify": (1, 2), "multilabel": (1, 2), "regress": (1, 2), "choice": (3, 99), "retrieve": (2, 2)}
"""How many text columns, at least and at most, a row of each head has."""


def tasks(
    files: str | Sequence[str] | Mapping[str, str | Mapping[str, str]],
    text: str | Sequence[str] = "text",
    label: str = "label",
    head: str = "classify",
    score: str = "",
    separator: str = ";",
    valid: int | float = 0.1,
    test: int | float = 0.2,
    seed: int = 0,
    train: int | None = None,
) -> list[Task]:
    """The tasks in the order of ``files``.

    files        [a.csv, b.csv]: named after the files; or {name: a.csv} or {name: {train: …, valid: …, test: …}}, where
                 only train is needed
    text, label  the columns; ``text`` is one, two for a pair, or as many as the head reads
    head         what a row is:
                 classify    a text or a pair, and a label
                 multilabel  the same, with labels that ``separator`` divides, or a JSON list; maybe none
                 regress     the same, with a number
                 choice      [question, option, option, …], and the position (from 0) or the text of the right option;
                             empty columns at the end are no options
                 retrieve    [query, passage], without a label
    score        how answers are judged; empty: as the head proposes
    valid, test  rows (or a fraction of them, below 1) held out of train, stratified, where no file is given
    train        at most so many rows of train, a random stratified subset; None: all
    The labels are the sorted label strings of train. Each file is read and checked once, a row at a time; its texts are
    not held, but read again when they are needed (``continual/stream/stored.py``), so a file of millions of rows will
    do. What is learned from or tested on is held as token ids, while it is: some 8 bytes a token and half a kilobyte a
    row. Raises DataError: unreadable files, a label that train lacks, or
    that is none; with file and line.
    """
    columns = _columns(text, head, separator)
    result = []
    for name, paths in sources(files, "csv").items():
        labels, rows = _rows(head, paths, columns, label, separator)
        splits = complete(rows, valid, test, seed, train, name)
        source = ", ".join(paths.values())
        result.append(Task(name, labels, **splits, head=head, score=score, source=source))
    return result


def _columns(text: str | Sequence[str], head: str, separator: str) -> list[str]:
    columns = [text] if isinstance(text, str) else list(text)
    if head in ("tag", "span"):
        raise DataError(
            f"stream csv: rows of {head!r} are not in tables; use stream={'conll' if head == 'tag' else 'squad'}"
        )
    if head not in COLUMNS:
        raise unknown("head of stream csv", head, COLUMNS)
    if not separator:
        raise DataError('stream csv: separator is empty; give the character between labels, as in separator=";"')
    least, most = COLUMNS[head]
    if not least <= len(columns) <= most:
        wanted = f"{least} or more" if most > 2 else " or ".join(map(str, sorted({least, most})))
        raise DataError(f"stream csv: head={head} reads {wanted} text columns, got text={columns}")
    return columns


def _rows(
    head: str, paths: Mapping[str, str], columns: list[str], label: str, separator: str
) -> tuple[tuple[str, ...], dict[str, Stored]]:
    """The task's labels, and the rows of each split; each file is read once, a row at a time."""
    shape = _options if head == "choice" else _text
    if head in UNLABELLED:
        column = None if head == "retrieve" else label

        def answer(row: Row) -> Any:
            return UNLABELLED[head](row, label)

        return (), {part: stored(path, columns, column, answer, shape) for part, path in paths.items()}
    rows: dict[str, Stored] = {}
    index: dict[str, int] = {}
    for part in sorted(paths, key="train".__ne__):  # train first, for it says which labels there are
        spelled = Spelled(label, separator if head == "multilabel" else None)
        read = stored(paths[part], columns, label, spelled, shape)
        if part == "train":
            index = {label: number for number, label in enumerate(sorted(spelled.first))}
        require_known(spelled.first.items(), index, paths[part])
        numbers = {found: tuple(index[label] for label in found) for found in spelled.known}
        meant = {found: of if head == "multilabel" else of[0] for found, of in numbers.items()}
        rows[part] = Stored(read.texts, read.places, [meant[found] for found in read.labels])
    return tuple(index), rows


def _text(texts: tuple[str, ...]) -> str | tuple[str, ...]:
    text, *pair = texts
    return texts if pair else text


class Spelled:
    """The labels of a row as its file spells them: one, or several; equal ones are one object in memory.

    first  of each label the place of its first row
    known  all that was found in a row
    """

    def __init__(self, column: str, separator: str | None) -> None:
        self.column, self.separator = column, separator
        self.first: dict[str, str] = {}
        self.known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __call__(self, row: Row) -> tuple[str, ...]:
        if self.separator is None:
            found = (as_label(row.where, row.label, self.column),)
        else:
            found = _several(row, self.column, self.separator)
        for label in found:
            self.first.setdefault(label, row.where)
        return self.known.setdefault(found, found)


def _several(row: Row, column: str, separator: str) -> tuple[str, ...]:
    """Each once, sorted as the task's labels are."""
    cell = row.label
    if not isinstance(cell, list):
        cell = [] if cell is None or cell == "" else as_label(row.where, cell, column).split(separator)
    return tuple(sorted({as_label(row.where, label, column) for label in cell}))


def _number(row: Row, column: str) -> float:
    try:
        number = float(as_label(row.where, row.label, column))
    except ValueError:
        number = math.nan
    if isinstance(row.label, bool) or not math.isfinite(number):
        raise DataError(f"{row.where}: expected a number in {column!r}, got {row.label!r:.60}; mend or drop the row")
    return number


def _options(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts without empty ones at the end: a question may have fewer options than the table columns."""
    count = len(texts)
    while count and not texts[count - 1].strip():
        count -= 1
    return texts[:count]


def _choice(row: Row, column: str) -> int:
    label, options = as_label(row.where, row.label, column), _options(row.texts)[1:]
    if label in (known := [option.strip() for option in options]) and not isinstance(row.label, int):
        return known.index(label)
    if label.isdecimal() and int(label) < len(options):
        return int(label)
    raise DataError(
        f"{row.where}: expected in {column!r} the text of one of {len(options)} options or a position from 0 to "
        f"{len(options) - 1}, got {label!r:.60}; mend or drop the row"
    )


UNLABELLED: dict[str, Callable[[Row, str], Any]] = {
    "regress": _number,
    "choice": _choice,
    "retrieve": lambda row, column: None,
}
"""Heads without labels of the task, and what makes a row's label out of its cell."""
