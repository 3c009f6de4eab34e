"""Search: how far up the right text comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from continual.score.base import Floats, ranks, ratio


class MRR:
    """Mean reciprocal rank, 1/n Σ 1/rank of each query's own text among the texts of all rows, by cosine.

    found: a (query, candidate) pair of (d,) vectors a row; wanted: the id of the candidate's text. Rows with the same
    id have the same candidate, counted once; a tie counts against the row. Not cut off at 10 as for MS MARCO.
    Voorhees 1999 (TREC-8). The candidates are those of all rows given, and a resample keeps them. Statistics:
    1/rank, 1.

    >>> right, up = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    >>> MRR().rows([(right, right), (right, up)], [0, 1], [])
    array([[1. , 1. ],
           [0.5, 1. ]])
    """

    proportion: ClassVar[bool] = False

    def rows(
        self, found: Sequence[tuple[NDArray[Any], NDArray[Any]]], wanted: Sequence[int], labels: Sequence[str]
    ) -> Floats:
        rank = ranks(found, wanted)
        return np.stack([1 / rank, np.ones(len(rank))], axis=1)

    def total(self, sums: Floats) -> Floats:
        return ratio(sums[..., 0], sums[..., 1])
