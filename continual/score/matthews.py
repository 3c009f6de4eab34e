"""Agreement beyond chance, as a correlation of two classifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from continual.score.base import Floats, indicators, ratio


class Matthews:
    """R_K = (c s - Σ p_k t_k) / √((s² - Σ p_k²) (s² - Σ t_k²)), in [-1, 1]; of two labels it is Matthews' phi.

    found and wanted: a label's index. c rows are right of s, label k is found p_k times and wanted t_k times. 0 where
    all rows have one label, found or wanted. Matthews 1975; for more than two labels Gorodkin 2004, eq. 8;
    scikit-learn's ``matthews_corrcoef``. Of the confusion matrix the formula needs only its trace and margins, so the
    statistics of C labels are 2 C + 1 and not C².

    >>> from continual.score.base import value
    >>> round(value(Matthews(), Matthews().rows([0, 1, 1, 1], [0, 0, 1, 1], ["a", "b"])), 3)
    0.577
    """

    proportion: ClassVar[bool] = False

    def rows(self, found: Sequence[int], wanted: Sequence[int], labels: Sequence[str]) -> Floats:
        ours, gold = indicators(found, wanted, labels)
        return np.hstack([(ours * gold).sum(axis=1, keepdims=True), ours, gold])

    def total(self, sums: Floats) -> Floats:
        right, (ours, gold) = sums[..., 0], np.split(sums[..., 1:], 2, axis=-1)
        n = gold.sum(axis=-1)
        spread = (n**2 - (ours**2).sum(axis=-1)) * (n**2 - (gold**2).sum(axis=-1))
        return ratio(right * n - (ours * gold).sum(axis=-1), np.sqrt(spread))
