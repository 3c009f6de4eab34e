"""Correlation of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from continual.score.base import Floats, correlation, moments


class Spearman:
    """ρ: Pearson's r of the ranks, equal numbers sharing the mean of their ranks; in [-1, 1].

    found and wanted: a finite number a row. 0 where either is constant (scipy's ``spearmanr`` says NaN and warns).
    Spearman 1904. Ranks are taken once, among the rows given: a resample keeps them, so its interval is that of r of
    these ranks. Statistics: 1, x, y, x², y², xy of the ranks x and y.

    >>> from continual.score.base import value
    >>> round(value(Spearman(), Spearman().rows([1.0, 2.0, 9.0], [1.0, 2.0, 3.0], [])), 3)
    1.0
    """

    proportion: ClassVar[bool] = False

    def rows(self, found: Sequence[float], wanted: Sequence[float], labels: Sequence[str]) -> Floats:
        return moments(_ranked(found), _ranked(wanted))

    def total(self, sums: Floats) -> Floats:
        return correlation(sums)


def _ranked(numbers: Sequence[float]) -> Floats:
    """(n,) ranks from 1; NaN and infinity stay, to be refused with the others.

    >>> _ranked([0.5, 7.0, 0.5])
    array([1.5, 3. , 1.5])
    """
    x = np.asarray(numbers, dtype=np.float64)
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    return np.where(np.isfinite(x), (np.cumsum(counts) - (counts - 1) / 2)[place], x)
