"""Rows of texts and labels in Arrow tables that stay on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from continual.errors import DataError, unknown
from continual.stream.stored import Stored, Text
from continual.stream.table import Row, as_text

if TYPE_CHECKING:
    from datasets import Dataset

AT_ONCE = 256
"""As many rows are in memory at a time."""


class Names(NamedTuple):
    """What the numbers in a column of labels mean.

    order    the task's labels
    spelled  the name of 0, 1, …
    """

    order: tuple[str, ...] = ()
    spelled: tuple[str, ...] = ()


def names(table: Dataset, label: str, listed: Sequence[str], place: str) -> Names:
    """Of a column ``label``: its own (ClassLabel) or listed ones; no names where neither is.

    Listed names that are the column's own in another order are an order; others as many are new names for 0, 1, ….
    Raises DataError for any other list: it would be a guess which is which.
    """
    listed = tuple(listed)
    kind = table.features.get(label)
    given = tuple(getattr(getattr(kind, "feature", kind), "names", None) or ())
    if not given or not listed:
        return Names(listed or given, listed or given)
    if set(listed) == set(given):
        return Names(listed, given)
    if len(listed) == len(given) and all(name not in given or given[at] == name for at, name in enumerate(listed)):
        return Names(listed, listed)
    raise DataError(
        f"{place}: labels={list(listed)} do not fit the column {label!r}, whose names are {list(given)}; list the same "
        "names in your order, or as many others for 0, 1, …, or none"
    )


def stored(
    table: Dataset,
    place: str,
    texts: Sequence[str],
    label: str | None,
    answer: Callable[[Row], Any],
    shape: Callable[[tuple[str, ...]], Text],
    spelled: Sequence[str] = (),
) -> Stored:
    """All rows, read and checked once, and then left on disk: ``answer`` gives a row's label.

    ``shape`` makes a row's text of the columns ``texts``. ``spelled``: what the numbers 0, 1, … of ``label`` mean;
    empty: they stay numbers. Raises DataError: no such column, a row without a text, a number without a name;
    with the row, counted from 0 as ``datasets`` does.
    """
    columns = _unique(texts if label is None else [*texts, label])
    if lost := [column for column in columns if column not in table.features]:
        raise DataError(
            f"{place}: {unknown('column', lost[0], table.features)} (set text= and label= to columns of the data set)"
        )
    view, labels = table.select_columns(columns), []
    for at, row in enumerate(_rows(view, np.arange(len(view)))):
        where = f"{place}, row {at}"
        found = tuple(as_text(where, row[column], column) for column in texts)
        cell = None if label is None else _named(row[label], spelled, where, label)
        labels.append(answer(Row(where, at, found, cell)))
    read = partial(_texts, table.select_columns(_unique(texts)), tuple(texts), shape)
    return Stored(read, np.arange(len(view)), labels)


def _unique(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(columns))


def _named(cell: Any, spelled: Sequence[str], where: str, label: str) -> Any:
    """A cell with names in the places of numbers: of one, or of several in a list."""
    if isinstance(cell, list):
        return [_named(one, spelled, where, label) for one in cell]
    if not spelled or not isinstance(cell, int):
        return cell
    if 0 <= cell < len(spelled):
        return spelled[cell]
    secret = (
        "; -1 stands for no label, as in tests whose answers are kept secret: take another split, as in "
        "splits={valid: null, test: validation}, which holds valid out of train"
    )
    raise DataError(
        f"{where}: expected in {label!r} a number from 0 to {len(spelled) - 1} ({', '.join(spelled):.200}), got {cell}"
        f"{secret if cell == -1 else '; correct labels=, or name another column'}"
    )


def _texts(
    table: Dataset, columns: tuple[str, ...], shape: Callable[[tuple[str, ...]], Text], places: NDArray[np.int64]
) -> Iterator[Text]:
    for row in _rows(table, places):
        yield shape(tuple(row[column] for column in columns))


def _rows(table: Dataset, places: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Column -> value of these rows, some at a time."""
    for start in range(0, len(places), AT_ONCE):
        block = places[start : start + AT_ONCE]
        whole = block[-1] - block[0] + 1 == len(block) and bool((np.diff(block) == 1).all())
        batch = table[int(block[0]) : int(block[-1]) + 1] if whole else table[block.tolist()]
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))
