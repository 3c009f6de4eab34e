"""Answers in words: how many words they share with the nearest gold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from continual.score.base import Floats, answers, ratio


class AnswerF1:
    """1/n Σ max over golds of 2 |answer ∩ gold| / (|answer| + |gold|), as bags of words, both normalised.

    found: a string, ``""`` for no answer; wanted: a tuple of golds, ``()`` where there is no answer. Normalised as
    for ``exact_match``; Rajpurkar et al. 2016 §6.1, and the evaluation script of SQuAD 2.0: where answer or gold is
    empty, 1 if both are, else 0. On SQuAD 1.1 the two scripts agree, unless a gold is nothing but articles and
    punctuation. Statistics: F1 of the row, 1.

    >>> AnswerF1().rows(["tower in Paris", ""], [("Eiffel tower", "the tower"), ()], [])
    array([[0.5, 1. ],
           [1. , 1. ]])
    """

    proportion: ClassVar[bool] = False

    def rows(self, found: Sequence[str], wanted: Sequence[tuple[str, ...]], labels: Sequence[str]) -> Floats:
        return np.array(
            [
                [max(_overlap(answer.split(), gold.split()) for gold in golds), 1.0]
                for answer, golds in answers(found, wanted)
            ]
        )

    def total(self, sums: Floats) -> Floats:
        return ratio(sums[..., 0], sums[..., 1])


def _overlap(ours: list[str], gold: list[str]) -> float:
    """
    >>> _overlap(["big", "big", "dog"], ["big", "cat"]), _overlap([], [])
    (0.4, 1.0)
    """
    if not ours or not gold:
        return float(ours == gold)
    return 2 * (Counter(ours) & Counter(gold)).total() / (len(ours) + len(gold))
