"""Right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from continual.score.base import Floats, ratio


class Accuracy:
    """1/n Σ [found = wanted], the share of rows that are right.

    found and wanted: anything that ``==`` compares; for sets of labels sorted tuples of indices, where this is subset
    accuracy, scikit-learn's ``accuracy_score``. Statistics: right, 1.

    >>> Accuracy().rows([0, (1, 2)], [0, (1,)], ["a", "b", "c"])
    array([[1., 1.],
           [0., 1.]])
    """

    proportion: ClassVar[bool] = True

    def rows(self, found: Sequence[Any], wanted: Sequence[Any], labels: Sequence[str]) -> Floats:
        return np.array([[float(answer == truth), 1.0] for answer, truth in zip(found, wanted, strict=True)])

    def total(self, sums: Floats) -> Floats:
        return ratio(sums[..., 0], sums[..., 1])
