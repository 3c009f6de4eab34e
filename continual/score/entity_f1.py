"""Names in sentences: right where type, first and last word are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from continual.errors import DataError
from continual.score.base import Floats, ratio


class EntityF1:
    """2 TP / (found + wanted) over the entities of all sentences (micro), TP those that are both.

    found and wanted: of each sentence a tuple of label indices, one a word; the labels are tags, O, B-PER, I-PER …
    and E-PER, S-PER where the scheme has them. 0 where no entity is found and none wanted. Tjong Kim Sang & De
    Meulder 2003 (conlleval); seqeval's ``f1_score`` in its default mode, without its warnings. A label that is no
    such tag is refused, where seqeval warns and goes on. Statistics: entities that are both, and the sum of the two.

    >>> tags = ["O", "B-PER", "I-PER"]
    >>> EntityF1().rows([(1, 2, 0, 1)], [(1, 2, 0, 0)], tags)
    array([[1., 3.]])
    """

    proportion: ClassVar[bool] = False

    def rows(
        self, found: Sequence[tuple[int, ...]], wanted: Sequence[tuple[int, ...]], labels: Sequence[str]
    ) -> Floats:
        """Raises ValueError where a row is answered with another number of tags than it has words."""
        tags = dict(enumerate(map(_tag, labels)))  # a dict: index -1 is an error, not the last label
        stats = []
        for row, (answer, truth) in enumerate(zip(found, wanted, strict=True)):
            if len(answer) != len(truth):
                raise ValueError(f"row {row}: expected a tag for each of {len(truth)} words, got {len(answer)}")
            ours, gold = entities([tags[i] for i in answer]), entities([tags[i] for i in truth])
            stats.append([len(ours & gold), len(ours) + len(gold)])
        return np.array(stats, dtype=np.float64)

    def total(self, sums: Floats) -> Floats:
        return ratio(2 * sums[..., 0], sums[..., 1])


def entities(tags: Sequence[tuple[str, str]]) -> set[tuple[str, int, int]]:
    """(type, first word, last word) of each entity of a sentence of (prefix, type).

    A word goes on with the entity before it when it is I or E, of the same type, and the word before is B or I. Any
    other word but O starts one: so does an I without a B.

    >>> sorted(entities([("B", "PER"), ("I", "PER"), ("I", "LOC"), ("O", "")]))
    [('LOC', 2, 2), ('PER', 0, 1)]
    """
    found, before, first = set(), ("O", ""), 0
    for word, tag in enumerate([*tags, ("O", "")]):
        if tag[0] in "IE" and before[0] in "BI" and tag[1] == before[1]:
            before = tag
            continue
        if before[0] != "O":
            found.add((before[1], first, word - 1))
        before, first = tag, word
    return found


def _tag(label: str) -> tuple[str, str]:
    """
    >>> _tag("B-PER"), _tag("I-by-line"), _tag("O")
    (('B', 'PER'), ('I', 'by-line'), ('O', ''))
    """
    prefix, dash, kind = label.partition("-")
    if label != "O" and not (dash and kind and prefix in ("B", "I", "E", "S")):
        raise DataError(f"expected tags: O, or B-, I-, E- or S- and a type, as in B-PER; got {label!r}")
    return prefix, kind
