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
from continual.stream.base import Example, Task
from continual.stream.files import complete, require_known, sources
from continual.stream.table import Row, as_label, read_rows

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
    The labels are the sorted label strings of train. Raises DataError: unreadable files, a label that train lacks, or
    that is none; with file and line.
    """
    columns = _columns(text, head, separator)
    result = []
    for name, paths in sources(files, "csv").items():
        read = {part: read_rows(path, columns, None if head == "retrieve" else label) for part, path in paths.items()}
        labels, answers = _answers(head, paths, read, label, separator)
        rows = {
            part: [Example(_text(head, row), answer) for row, answer in zip(found, answers[part], strict=True)]
            for part, found in read.items()
        }
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


def _text(head: str, row: Row) -> str | tuple[str, ...]:
    if head == "choice":
        return _options(row)
    text, *pair = row.texts
    return row.texts if pair else text


def _answers(
    head: str, paths: Mapping[str, str], read: Mapping[str, Sequence[Row]], column: str, separator: str
) -> tuple[tuple[str, ...], dict[str, list[Any]]]:
    """The task's labels, and the label of each row of each split."""
    if head in UNLABELLED:
        return (), {part: [UNLABELLED[head](row, column) for row in rows] for part, rows in read.items()}
    several = head == "multilabel"
    spelled = {
        part: [
            _several(row, column, separator) if several else [as_label(row.where, row.label, column)] for row in rows
        ]
        for part, rows in read.items()
    }
    labels = tuple(sorted({label for found in spelled["train"] for label in found}))
    index = {label: i for i, label in enumerate(labels)}
    for part, rows in read.items():
        found = ((label, row.where) for row, ours in zip(rows, spelled[part], strict=True) for label in ours)
        require_known(found, labels, paths[part])
    if not several:
        return labels, {part: [index[label] for [label] in rows] for part, rows in spelled.items()}
    return labels, {part: [tuple(index[label] for label in found) for found in rows] for part, rows in spelled.items()}


def _several(row: Row, column: str, separator: str) -> list[str]:
    """Each once, sorted as the task's labels are."""
    cell = row.label
    if not isinstance(cell, list):
        cell = [] if cell is None or cell == "" else as_label(row.where, cell, column).split(separator)
    return sorted({as_label(row.where, label, column) for label in cell})


def _number(row: Row, column: str) -> float:
    try:
        number = float(as_label(row.where, row.label, column))
    except ValueError:
        number = math.nan
    if isinstance(row.label, bool) or not math.isfinite(number):
        raise DataError(f"{row.where}: expected a number in {column!r}, got {row.label!r:.60}; mend or drop the row")
    return number


def _options(row: Row) -> tuple[str, ...]:
    """The texts without empty ones at the end: a question may have fewer options than the table columns."""
    count = len(row.texts)
    while count and not row.texts[count - 1].strip():
        count -= 1
    return row.texts[:count]


def _choice(row: Row, column: str) -> int:
    label, options = as_label(row.where, row.label, column), _options(row)[1:]
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
