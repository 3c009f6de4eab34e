"""F1 over all decisions about labels, each with the same weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from continual.score.base import Floats, Labels, indicators, ratio


class MicroF1:
    """2 TP / (2 TP + FP + FN) over all rows and labels; of one label a row it is the accuracy.

    found and wanted: a label's index, or a tuple of indices, the set of labels. 0 where nothing is found and nothing
    wanted in any row. scikit-learn's ``f1_score(average="micro")`` without its warning. Statistics: the labels that
    are both found and wanted, and the sizes of the two sets together.

    >>> from continual.score.base import value
    >>> round(value(MicroF1(), MicroF1().rows([0, (1, 2)], [0, (1,)], ["a", "b", "c"])), 3)
    0.8
    """

    proportion: ClassVar[bool] = False

    def rows(self, found: Sequence[Labels], wanted: Sequence[Labels], labels: Sequence[str]) -> Floats:
        ours, gold = indicators(found, wanted, labels)
        return np.stack([(ours * gold).sum(axis=1), (ours + gold).sum(axis=1)], axis=1)

    def total(self, sums: Floats) -> Floats:
        return ratio(2 * sums[..., 0], sums[..., 1])
