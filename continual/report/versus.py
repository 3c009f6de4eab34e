"""Two runs cell by cell: the difference of their scores on the same test rows, and whether chance explains it.

Of one run each. What another seed or order would have done is in none of these intervals; for that, several runs are
compared (``uncertainty.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from continual import score as scores
from continual.errors import ContinualError
from continual.ledger import REFERENCES
from continual.outcomes import Outcome, Outcomes
from continual.report.record import CellFacts, Record
from continual.score.base import Floats, Score, resampled, value

LEVEL = 0.05


class Side(NamedTuple):
    """A run: its record, and the rows of its cells."""

    record: Record
    outcomes: Outcomes


class Place(NamedTuple):
    """Where a cell stands: its stage, the tasks that were learned by then, in whatever order, and the one tested."""

    stage: str
    learned: frozenset[str]
    task: str


@dataclass(frozen=True)
class Difference:
    """Ours less theirs in one cell.

    after        tasks learned by then; 0 before any
    low, high    95 % interval of the difference: paired bootstrap over the n test rows; None where rows are not paired
    p            two-sided, of no difference. Where a score is a share of rows, McNemar's exact test (1947): the
                 binomial test of the rows that one side alone has right. Else the bootstrap's: twice the smaller share
                 of resamples on a side of 0 (Efron & Tibshirani 1993, ch. 16)
    decided      p is below 0.05 by Holm's procedure (1979) over all tests of the comparison, each counted once
    why          there is no interval
    """

    place: Place
    after: int
    ours: float
    theirs: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    decided: bool = False
    why: str = ""

    @property
    def gain(self) -> float:
        return self.ours - self.theirs


@dataclass(frozen=True)
class Versus:
    """tests: how many distinct ones Holm's procedure went over. mean: of the last row, over its paired tasks."""

    ours: Record
    theirs: Record
    cells: tuple[Difference, ...]
    tests: int
    mean: Difference | None


def versus(ours: Side, theirs: Side, seed: int = 0) -> Versus:
    """All cells that both runs have, in our order.

    Raises ContinualError where there is none: the runs are of other tasks.
    """
    there = dict(_places(theirs.record))
    pairs = [(place, cell, there[place]) for place, cell in _places(ours.record) if place in there]
    if not pairs:
        names = [", ".join(task.name for task in side.record.tasks) for side in (ours, theirs)]
        raise ContinualError(f"the runs have no cell in common: one is of {names[0]}, the other of {names[1]}")
    tested: dict[tuple[str, str], Difference] = {}
    cells = []
    for place, mine, other in pairs:
        both = (mine.key, other.key)
        if both not in tested:
            tested[both] = _difference(place, mine, other, ours.outcomes, theirs.outcomes, seed)
        cells.append(replace(tested[both], place=place, after=len(place.learned)))
    tests = {both: found.p for both, found in tested.items() if found.p is not None}
    decided = holm(tests.values())
    sure = {both for both, is_sure in zip(tests, decided, strict=True) if is_sure}
    keys = [(mine.key, other.key) for _, mine, other in pairs]
    cells = [replace(cell, decided=both in sure) for cell, both in zip(cells, keys, strict=True)]
    return Versus(ours.record, theirs.record, tuple(cells), len(tests), _mean(pairs, ours, theirs, seed))


def holm(values: Iterable[float], level: float = LEVEL) -> list[bool]:
    """Which of m hypotheses are rejected so that any false rejection has probability at most ``level`` (Holm 1979).

    >>> holm([0.01, 0.04, 0.03, 0.005])
    [True, False, False, True]
    """
    ps = np.array([*values])
    order = np.argsort(ps, kind="stable")
    passed = np.logical_and.accumulate(ps[order] <= level / np.arange(len(ps), 0, -1))
    return [bool(passed[rank]) for rank in np.argsort(order, kind="stable")]


def _places(record: Record) -> Iterable[tuple[Place, CellFacts]]:
    names = [task.name for task in record.tasks]
    for cell in record.cells:
        if cell.score is not None and cell.stage not in REFERENCES:
            yield Place(cell.stage, frozenset(names[: cell.after + 1]), names[cell.task]), cell


def _difference(
    place: Place, ours: CellFacts, theirs: CellFacts, mine: Outcomes, others: Outcomes, seed: int
) -> Difference:
    assert ours.score is not None
    assert theirs.score is not None
    plain = Difference(place, len(place.learned), ours.score, theirs.score, min(ours.n, theirs.n))
    one, other = mine.get(ours.key), others.get(theirs.key)
    if why := unpaired(one, other):
        return replace(plain, why=why)
    assert one is not None
    assert other is not None
    score = scores.named(one.score)
    drawn = resampled(score, one.stats, other.stats, f"{seed}/{place.task}")
    low, high = np.percentile(drawn, [2.5, 97.5])
    return replace(plain, low=float(low), high=float(high), p=_p(score, one.stats, other.stats, drawn))


def unpaired(one: Outcome | None, other: Outcome | None) -> str:
    """Why two cells cannot be compared row by row; empty: they can."""
    if one is None or other is None:
        return "the rows of a side were not kept: run it again with this version"
    if one.score != other.score:
        return f"scores differ: {one.score} and {other.score}"
    if one.rows != other.rows:
        return "the test rows are not the same"
    return "" if one.stats.shape == other.stats.shape else "the labels are not the same"  # a score may be over them


def _p(score: Score, ours: Floats, theirs: Floats, drawn: Floats) -> float:
    if score.proportion:
        mine, other = (score.total(stats) > 0.5 for stats in (ours, theirs))
        alone, both = int((mine & ~other).sum()), int((mine ^ other).sum())
        return float(binomtest(alone, both).pvalue) if both else 1.0
    return _share(drawn)


def _share(drawn: Floats) -> float:
    side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (1 + side) / (1 + len(drawn)))


def _mean(
    pairs: Sequence[tuple[Place, CellFacts, CellFacts]], ours: Side, theirs: Side, seed: int
) -> Difference | None:
    """Of the scores after the last task, over the tasks: the rows of each are resampled by themselves."""
    last = frozenset(task.name for task in ours.record.tasks)
    row = [(place, mine, other) for place, mine, other in pairs if place.stage == "learn" and place.learned == last]
    drawn, found = [], []
    for place, mine, other in row:
        one, two = ours.outcomes.get(mine.key), theirs.outcomes.get(other.key)
        if unpaired(one, two) or one is None or two is None:
            return None
        score = scores.named(one.score)
        drawn.append(resampled(score, one.stats, two.stats, f"{seed}/{place.task}"))
        found.append((value(score, one.stats), value(score, two.stats), len(one.stats)))
    if not found:
        return None
    mean, theirs_mean = (float(np.mean([scored[side] for scored in found])) for side in (0, 1))
    means = np.mean(drawn, axis=0)
    low, high = np.percentile(means, [2.5, 97.5])
    place = Place("learn", last, "")
    n = sum(scored[2] for scored in found)
    return Difference(place, len(last), mean, theirs_mean, n, float(low), float(high), _share(means))
