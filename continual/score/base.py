"""A score of rows is a pure function of the sum of per-row statistics, so a resample is scored without answering again.

Below the protocol and its intervals is the arithmetic that several scores share: files of this folder do not import
each other.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from continual.errors import DataError, NotFinite
from continual.ledger import wilson
from continual.stream import sample

Floats = NDArray[np.float64]
Labels = int | tuple[int, ...]  # a label's index, or the set of them

BLOCK = 2**20  # numbers in a block of what is computed piece by piece: 8 MiB
TIE = 1e-9  # cosines closer than this are a tie: equal vectors may differ in the last bits of a matrix product


class Score(Protocol):
    """How good answers are: at most 1, higher is better.

    proportion   the score is the share of rows that are right: its interval is Wilson's

    ``rows`` is given all rows of a task at once, at least one: some statistics depend on the other rows (a rank, the
    candidates of a search). They are computed once, and a resample keeps them. ``total`` never warns; where the
    formula is 0/0 it has a value, which the class states.
    """

    proportion: ClassVar[bool]

    def rows(self, found: Sequence[Any], wanted: Sequence[Any], labels: Sequence[str]) -> Floats:
        """(n, k) statistics of n answers; ValueError for unequal lengths."""
        ...

    def total(self, sums: Floats) -> Floats:
        """(…, k) -> (…): the scores of sets of rows with these sums of statistics."""
        ...


def value(score: Score, stats: Floats) -> float:
    """Of all rows. Raises DataError where there is no row: no number is right there, not even 0."""
    if not len(stats):
        raise DataError("a score needs at least one row, got none; give the task test rows")
    return float(score.total(stats.sum(axis=0)))


def interval(score: Score, stats: Floats, seed: int, draws: int = 2000) -> tuple[float, float]:
    """95 %: Wilson's for a proportion, else the percentile bootstrap over rows (Efron 1979). DataError without rows.

    The bootstrap's need not hold the score of all rows: that is a known property of the percentile interval.
    """
    whole = value(score, stats)
    if score.proportion:
        return wilson(round(whole * len(stats)), len(stats))
    return _middle(_resampled(score, seed, draws, stats)[0])


def paired(score: Score, stats: Floats, reference: Floats, seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """Score less the reference's on the same rows, and its 95 % interval: each resample serves both.

    Percentile bootstrap of the difference (Efron 1979; for pairs Koehn 2004). Raises DataError without rows,
    ValueError for statistics of unequal shapes.
    """
    [drawn] = resampled(score, [(stats, reference)], seed, draws)
    return value(score, stats) - value(score, reference), *_middle(drawn)


def resampled(score: Score, pairs: Sequence[tuple[Floats, Floats]], seed: int | str, draws: int = 2000) -> Floats:
    """(pairs, draws) differences of the two scores of each pair, all on the same resamples of the rows.

    Raises as ``paired``.
    """
    for stats, reference in pairs:
        if stats.shape != reference.shape:
            raise ValueError(f"paired rows have equal statistics, got shapes {stats.shape} and {reference.shape}")
    found = _resampled(score, seed, draws, *(table for pair in pairs for table in pair))
    return found[::2] - found[1::2]


def _resampled(score: Score, seed: int | str, draws: int, *tables: Floats) -> Floats:
    """(tables, draws) scores of resamples, in chunks: 10,000 rows and 2,000 draws take 25 MB."""
    step = max(1, BLOCK // max(tables[0].shape))
    chunks = [range(first, min(first + step, draws)) for first in range(0, draws, step)]
    counts = (np.stack([_counts(len(tables[0]), seed, draw) for draw in chunk]) for chunk in chunks)
    return np.concatenate([[score.total(times @ table) for table in tables] for times in counts], axis=1)


def _counts(n: int, seed: int | str, draw: int) -> Floats:
    """(n,) how often each row is drawn when n are drawn with replacement; a function of the arguments alone.

    The remainder's bias is below n / 2**64.

    >>> float(_counts(4, seed=0, draw=0).sum()), _counts(9, 0, 1).tolist() == _counts(9, 0, 1).tolist()
    (4.0, True)
    """
    picked = sample.draws(n, "bootstrap", seed, draw) % n
    return np.bincount(picked.astype(np.int64), minlength=n).astype(np.float64)


def _middle(scores: Floats) -> tuple[float, float]:
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole, broadcast; 0 where whole is 0.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
    array([0.5, 0. ])
    """
    result = np.zeros(np.broadcast(part, whole).shape)
    np.divide(part, whole, out=result, where=whole != 0)
    return result


def aligned(found: Sequence[Any] | Floats, wanted: Sequence[Any] | Floats) -> None:
    """Raises ValueError for unequal lengths: arrays of one row would be broadcast."""
    if len(found) != len(wanted):
        raise ValueError(f"expected as many found answers as wanted ones, got {len(found)} and {len(wanted)}")


def indicators(found: Sequence[Labels], wanted: Sequence[Labels], labels: Sequence[str]) -> tuple[Floats, Floats]:
    """Of found and of wanted: (n, C), 1 where a row has the label. DataError for an index that is no label's.

    >>> indicators([1, (0, 2)], [0, ()], ["a", "b", "c"])[0]
    array([[0., 1., 0.],
           [1., 0., 1.]])
    """
    aligned(found, wanted)
    tables = np.zeros((2, len(found), len(labels)))
    for table, answers in zip(tables, (found, wanted), strict=True):
        for row, answer in enumerate(answers):
            for label in answer if isinstance(answer, tuple) else (answer,):
                if not 0 <= label < len(labels):
                    raise DataError(f"row {row}: expected labels from 0 to {len(labels) - 1}, got {label}")
                table[row, label] = 1
    return tables[0], tables[1]


def moments(x: Floats, y: Floats) -> Floats:
    """(n,), (n,) -> (n, 6): 1, x, y, x², y², xy, after moving and scaling each to [-1, 1].

    A correlation does not see move and scale, but the sums lose digits without: 1e8 and 1e8 + 1 have equal squares.
    Raises NotFinite for a number that is not finite.
    """
    aligned(x, y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise NotFinite("expected finite numbers, got NaN or infinity; look for a task whose training diverged")
    x, y = _standard(x), _standard(y)
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def _standard(x: Floats) -> Floats:
    x = x - x.mean()
    return ratio(x, np.abs(x).max())


def correlation(sums: Floats) -> Floats:
    """(…, 6) sums of ``moments`` -> (…) Pearson's r; 0 where x or y is constant up to rounding."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    vx, vy = n * xx - x * x, n * yy - y * y
    varies = (vx > 1e-12 * n * xx) & (vy > 1e-12 * n * yy)
    r = ratio(n * xy - x * y, np.where(varies, np.sqrt(np.maximum(vx, 0)) * np.sqrt(np.maximum(vy, 0)), 0))
    return np.clip(r, -1, 1)


def answers(found: Sequence[str], wanted: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, list[str]]]:
    """Each row's answer and its golds, all normalised; a gold of nothing is no gold, no gold is the gold ``""``."""
    for answer, golds in zip(found, wanted, strict=True):
        yield normal(answer), [gold for gold in map(normal, golds) if gold] or [""]


def normal(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces (Rajpurkar et al. 2016, §6.1).

    >>> normal("The Beatles' first  album, a hit")
    'beatles first album hit'
    """
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def ranks(found: Sequence[tuple[NDArray[Any], NDArray[Any]]], wanted: Sequence[int]) -> Floats:
    """(n,) the rank, from 1, of each row's own candidate for its query among the candidates of all rows, by cosine.

    ``found`` is a (query, candidate) pair of (d,) vectors a row, ``wanted`` the id (64 bits, signed) of the candidate's
    text: rows with the same id have the same candidate, which is counted once (with the nearest of its vectors). A tie
    counts against the row, and so does NaN. The cosine with a vector of zeros is 0.
    """
    aligned(found, wanted)
    queries, candidates = _directions([q for q, _ in found]), _directions([c for _, c in found])
    own = (queries * candidates).sum(axis=1, keepdims=True)
    ids = np.array(wanted, dtype=np.int64)  # left to itself numpy rounds larger ones to floats, and they meet
    order = np.argsort(ids, kind="stable")
    first = np.unique(ids[order], return_index=True)[1]  # of each id
    columns, step = candidates[order].T, max(1, BLOCK // len(found))
    blocks = [slice(row, row + step) for row in range(0, len(found), step)]
    worse = [np.maximum.reduceat(queries[rows] @ columns, first, axis=1) < own[rows] - TIE for rows in blocks]
    return (~np.concatenate(worse)).sum(axis=1).astype(np.float64)


def _directions(vectors: Sequence[NDArray[Any]]) -> Floats:
    table = np.array(vectors, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # infinity becomes NaN, which is never near
        return ratio(table, np.linalg.norm(table, axis=1, keepdims=True))
