"""The share of right tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from continual.score.base import Floats, ratio


class TokenAccuracy:
    """Σ right tags / Σ tags over all words of all rows: what parts of speech are judged by.

    found and wanted: a tuple of label indices per sentence, of equal length. Statistics: right tags, tags. Words of one
    sentence are not independent, so the interval is the bootstrap's over sentences.

    >>> TokenAccuracy().rows([(0, 1, 1), (2,)], [(0, 1, 2), (2,)], ["a", "b", "c"])
    array([[2., 3.],
           [1., 1.]])
    """

    proportion: ClassVar[bool] = False

    def rows(self, found: Sequence[Any], wanted: Sequence[Any], labels: Sequence[str]) -> Floats:
        pairs = list(zip(found, wanted, strict=True))
        right = [sum(a == b for a, b in zip(answer, truth, strict=True)) for answer, truth in pairs]
        return np.array([[r, len(truth)] for r, (_, truth) in zip(right, pairs, strict=True)], dtype=np.float64)

    def total(self, sums: Floats) -> Floats:
        return ratio(sums[..., 0], sums[..., 1])
