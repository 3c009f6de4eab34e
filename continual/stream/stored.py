"""Rows whose texts stay in their file: what is held of a row is where it begins and its label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from continual.stream.base import Example, Rows

Text = str | tuple[str, ...]
Texts = Callable[[NDArray[np.int64]], Iterator[Text]]
"""The texts of the rows that begin at these places of a file, one at a time."""


class Stored(Sequence[Example]):
    """Rows that are read when they are asked for, and not held.

    16 bytes a row, and its label where it is not one of few: 8 for the place at which the row begins, 8 for a reference
    to the label. Going through all reads the file from front to back; one row by its number opens it and goes there.
    Parts of it (``take``) are of the same kind.
    """

    def __init__(self, texts: Texts, places: NDArray[np.int64], labels: Sequence[Any]) -> None:
        self.texts, self.places, self.labels = texts, places, labels

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Example]:
        return map(Example, self.texts(self.places), self.labels)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Stored: ...
    def __getitem__(self, index: int | slice) -> Example | Stored:
        if isinstance(index, slice):
            return Stored(self.texts, self.places[index], self.labels[index])
        [text] = self.texts(self.places[[index]])
        return Example(text, self.labels[index])

    def take(self, rows: NDArray[np.int64]) -> Stored:
        """The rows with these numbers, in their order."""
        return Stored(self.texts, self.places[rows], [self.labels[row] for row in rows.tolist()])


def take(rows: Rows, chosen: NDArray[np.int64]) -> Rows:
    """The rows with these numbers: stored ones stay in their file."""
    return rows.take(chosen) if isinstance(rows, Stored) else [rows[row] for row in chosen.tolist()]


def labels_of(rows: Rows) -> Iterable[Any]:
    """The label of each row; of stored ones without reading a text."""
    return rows.labels if isinstance(rows, Stored) else (row.label for row in rows)


def relabelled(rows: Rows, labels: Sequence[Any]) -> Rows:
    """The same texts with other labels, one for each row."""
    if isinstance(rows, Stored):
        return Stored(rows.texts, rows.places, labels)
    return [Example(row.text, label) for row, label in zip(rows, labels, strict=True)]
