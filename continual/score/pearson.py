"""Linear correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from continual.score.base import Floats, correlation, moments


class Pearson:
    """r = Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² Σ (y - ȳ)²), in [-1, 1].

    found and wanted: a finite number a row. 0 where either is constant, so for one row (scipy's ``pearsonr`` says
    NaN and warns). Pearson 1895. Statistics: 1, x, y, x², y², xy.

    >>> from continual.score.base import value
    >>> round(value(Pearson(), Pearson().rows([1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [])), 3)
    0.5
    """

    proportion: ClassVar[bool] = False

    def rows(self, found: Sequence[float], wanted: Sequence[float], labels: Sequence[str]) -> Floats:
        return moments(np.asarray(found, dtype=np.float64), np.asarray(wanted, dtype=np.float64))

    def total(self, sums: Floats) -> Floats:
        return correlation(sums)
