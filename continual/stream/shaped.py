"""What a row of texts and a label is to each head: what streams of tables (``csv``, ``hub``) share."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from continual.errors import DataError, unknown
from continual.stream.files import require_known
from continual.stream.stored import Stored, Text
from continual.stream.table import Row, as_label

COLUMNS = {"classify": (1, 2), "multilabel": (1, 2), "regress": (1, 2), "choice": (3, 99), "retrieve": (2, 2)}
"""How many text columns, at least and at most, a row of each head has."""

Shape = Callable[[tuple[str, ...]], Text]
Read = Callable[[str, str | None, Callable[[Row], Any], Shape], Stored]
"""All rows of a split, given the label's column (None: no column), a row's label, and its text of the text columns."""


def columns(text: str | Sequence[str], head: str, separator: str, stream: str) -> list[str]:
    """The text columns as a list. Raises ContinualError for more or fewer than the head reads, and for such a head."""
    found = [text] if isinstance(text, str) else list(text)
    if head in ("tag", "span"):
        raise DataError(
            f"stream {stream}: rows of {head!r} are not in tables; use stream={'conll' if head == 'tag' else 'squad'}"
        )
    if head not in COLUMNS:
        raise unknown(f"head of stream {stream}", head, COLUMNS)
    if not separator:
        raise DataError(f'stream {stream}: separator is empty; give the character between labels, as in separator=";"')
    least, most = COLUMNS[head]
    if not least <= len(found) <= most:
        wanted = f"{least} or more" if most > 2 else " or ".join(map(str, sorted({least, most})))
        raise DataError(f"stream {stream}: head={head} reads {wanted} text columns, got text={found}")
    return found


def rows(
    head: str, places: Mapping[str, str], read: Read, label: str, separator: str, names: Sequence[str] = ()
) -> tuple[tuple[str, ...], dict[str, Stored]]:
    """The task's labels, and the rows of each split of ``places``; each is read once, a row at a time.

    places  split -> what errors call it
    names   the labels in their order; empty: the sorted label strings of train
    Raises DataError: a label that is none, that ``names`` lack, or else train; with its row.
    """
    shape = _options if head == "choice" else _text
    if head in UNLABELLED:
        column = None if head == "retrieve" else label

        def answer(row: Row) -> Any:
            return UNLABELLED[head](row, label)

        return (), {part: read(part, column, answer, shape) for part in places}
    found: dict[str, Stored] = {}
    index = {name: number for number, name in enumerate(names)}
    for part in sorted(places, key="train".__ne__):  # train first, for it says which labels there are
        spelled = Spelled(label, separator if head == "multilabel" else None)
        split = read(part, label, spelled, shape)
        if names:
            _require_listed(spelled.first.items(), names, places[part])
        else:
            index = index or {name: number for number, name in enumerate(sorted(spelled.first))}
            require_known(spelled.first.items(), index, places[part])
        numbers = {given: tuple(sorted(index[name] for name in given)) for given in spelled.known}
        meant = {given: of if head == "multilabel" else of[0] for given, of in numbers.items()}
        found[part] = Stored(split.texts, split.places, [meant[given] for given in split.labels])
    return tuple(index), found


def _require_listed(found: Iterable[tuple[str, str]], names: Collection[str], place: str) -> None:
    lost = [(label, where) for label, where in found if label not in names]
    if lost:
        raise DataError(
            f"{place}: labels that are not listed: {', '.join(sorted(repr(label) for label, _ in lost)[:5])}; listed "
            f"are {', '.join(map(repr, list(names)[:20]))}; correct labels=, or drop these rows; the first is "
            f"{lost[0][1]}"
        )


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
    """Each once, sorted."""
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
