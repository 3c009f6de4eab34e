"""Answers in words: the same as one of the golds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from continual.score.base import Floats, answers, ratio


class ExactMatch:
    """1/n Σ max over golds of [answer = gold], both normalised: the share of rows that match.

    found: a string, ``""`` for no answer; wanted: a tuple of golds, ``()`` where there is no answer. Lower case,
    without punctuation, English articles and superfluous spaces. Rajpurkar et al. 2016 §6.1, and the evaluation
    script of SQuAD 2.0 (Rajpurkar et al. 2018): golds of nothing but punctuation and articles are dropped, and a
    question without golds wants an answer of nothing. Statistics: match, 1.

    >>> ExactMatch().rows(["The Eiffel Tower.", "Paris"], [("Eiffel tower", "tower"), ()], [])
    array([[1., 1.],
           [0., 1.]])
    """

    proportion: ClassVar[bool] = True

    def rows(self, found: Sequence[str], wanted: Sequence[tuple[str, ...]], labels: Sequence[str]) -> Floats:
        return np.array([[float(answer in golds), 1.0] for answer, golds in answers(found, wanted)])

    def total(self, sums: Floats) -> Floats:
        return ratio(sums[..., 0], sums[..., 1])
