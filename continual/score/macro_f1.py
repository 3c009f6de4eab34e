"""F1 of each label, each label with the same weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from continual.score.base import Floats, Labels, indicators, ratio


class MacroF1:
    """Mean over labels of 2 TP / (2 TP + FP + FN).

    found and wanted: a label's index, or a tuple of indices, the set of labels. A label that is neither found nor
    wanted in any row is left out of the mean; 0 where no label is left. That is scikit-learn's
    ``f1_score(average="macro")`` for one label a row, and with ``zero_division=nan`` for sets of labels, where its
    default would count such a label as 0. A resample may lose labels: its mean is over those that it has.
    Statistics, for C labels: C times found and wanted, then C times the sum of the two.

    >>> from continual.score.base import value
    >>> round(value(MacroF1(), MacroF1().rows([0, (1, 2)], [0, (1,)], ["a", "b", "c", "d"])), 3)
    0.667
    """

    proportion: ClassVar[bool] = False

    def rows(self, found: Sequence[Labels], wanted: Sequence[Labels], labels: Sequence[str]) -> Floats:
        ours, gold = indicators(found, wanted, labels)
        return np.hstack([ours * gold, ours + gold])

    def total(self, sums: Floats) -> Floats:
        hits, sizes = np.split(sums, 2, axis=-1)
        return ratio(ratio(2 * hits, sizes).sum(axis=-1), (sizes > 0).sum(axis=-1))
