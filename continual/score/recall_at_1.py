"""Search: the right text comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from continual.score.base import Floats, ranks, ratio


class RecallAt1:
    """1/n Σ [rank = 1]: the share of queries whose own text is nearer, by cosine, than any other row's.

    found: a (query, candidate) pair of (d,) vectors a row; wanted: the id of the candidate's text. Rows with the
    same id have the same candidate; a tie is a miss. The candidates are those of all rows given: more rows make
    the task harder, and a resample keeps the candidates, so the interval is that of queries for a fixed collection.
    Statistics: hit, 1.

    >>> right, up = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    >>> RecallAt1().rows([(right, right), (right, up)], [0, 1], [])
    array([[1., 1.],
           [0., 1.]])
    """

    proportion: ClassVar[bool] = True

    def rows(
        self, found: Sequence[tuple[NDArray[Any], NDArray[Any]]], wanted: Sequence[int], labels: Sequence[str]
    ) -> Floats:
        first = ranks(found, wanted) == 1
        return np.stack([first, np.ones(len(first))], axis=1)

    def total(self, sums: Floats) -> Floats:
        return ratio(sums[..., 0], sums[..., 1])
