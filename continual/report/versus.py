"""Two runs cell by cell: the difference of their scores on the same test rows, and whether chance explains it.

Of one run each. What another seed or order would have done is in none of these intervals; for that, several runs are
compared (``uncertainty.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from continual import score as scores
from continual.errors import ContinualError
from continual.ledger import REFERENCES
from continual.outcomes import Outcome, Outcomes
from continual.report.record import CellFacts, Record
from continual.score.base import Floats, Score, resampled

LEVEL = 0.05
DRAWS = 2000


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
    """tests: how many Holm's procedure went over: distinct ones, without those that no outcome could have decided, of
    cells that are equal row by row (Tarone 1990).

    mean: of the last row; None where one of its tasks has no paired rows.
    """

    ours: Record
    theirs: Record
    cells: tuple[Difference, ...]
    tests: int
    mean: Difference | None


@dataclass(frozen=True)
class _Test:
    """Two distinct cells: what is known without their rows, and their rows where these can be paired."""

    plain: Difference
    rows: tuple[Outcome, Outcome] | None

    @property
    def equal(self) -> bool:
        return self.rows is not None and np.array_equal(self.rows[0].stats, self.rows[1].stats, equal_nan=True)


def versus(ours: Side, theirs: Side, seed: int = 0) -> Versus:
    """All cells that both runs have, in our order; of those that runs keep for themselves ("oracle") none.

    Raises ContinualError where there is none: the runs are of other tasks.
    """
    there = dict(_places(theirs.record))
    pairs = [(place, cell, there[place]) for place, cell in _places(ours.record) if place in there]
    if not pairs:
        names = [", ".join(task.name for task in side.record.tasks) for side in (ours, theirs)]
        raise ContinualError(f"the runs have no cell in common: one is of {names[0]}, the other of {names[1]}")
    tests: dict[tuple[str, str], _Test] = {}
    for place, mine, other in pairs:
        if (mine.key, other.key) not in tests:
            tests[mine.key, other.key] = _test(place, mine, other, ours.outcomes, theirs.outcomes)
    drawn = _drawn(tests, seed)
    found = {both: _difference(test, drawn.get(both)) for both, test in tests.items()}
    counted = [both for both in drawn if not tests[both].equal]
    decided = holm(found[both].p or 0.0 for both in counted)
    sure = {both for both, is_sure in zip(counted, decided, strict=True) if is_sure}
    cells = []
    for place, mine, other in pairs:
        both = (mine.key, other.key)
        cells.append(replace(found[both], place=place, after=len(place.learned), decided=both in sure))
    last = frozenset(task.name for task in ours.record.tasks)
    row = [(m.key, o.key) for place, m, o in pairs if place.stage == "learn" and place.learned == last]
    mean = _mean([(found[both], drawn[both]) for both in row if both in drawn]) if row else None
    whole = len(row) == sum(both in drawn for both in row)
    return Versus(ours.record, theirs.record, tuple(cells), len(counted), mean if whole else None)


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
        if cell.score is not None and cell.stage not in (*REFERENCES, "oracle"):
            yield Place(cell.stage, frozenset(names[: cell.after + 1]), names[cell.task]), cell


def _test(place: Place, ours: CellFacts, theirs: CellFacts, mine: Outcomes, others: Outcomes) -> _Test:
    assert ours.score is not None
    assert theirs.score is not None
    plain = Difference(place, len(place.learned), ours.score, theirs.score, min(ours.n, theirs.n))
    one, other = mine.get(ours.key), others.get(theirs.key)
    if why := unpaired(one, other):
        return _Test(replace(plain, why=why), None)
    assert one is not None
    assert other is not None
    return _Test(plain, (one, other))


def _drawn(tests: Mapping[tuple[str, str], _Test], seed: int) -> dict[tuple[str, str], Floats]:
    """Of each pair of rows the differences in resamples; those of one task share their draws, which take the time.

    A score that is no share of rows is tested by them: they are as many as its smallest p needs among all tests.
    """
    found, groups = dict[tuple[str, str], Floats](), defaultdict[tuple[str, str, int], list[tuple[str, str]]](list)
    for both, test in tests.items():
        if test.rows is not None:
            groups[test.plain.place.task, test.rows[0].score, len(test.rows[0].stats)].append(both)
    for (task, name, _), group in groups.items():
        score = scores.named(name)
        draws = DRAWS if score.proportion else max(DRAWS, 2 * int(1 / LEVEL) * len(tests))
        pairs = [(rows[0].stats, rows[1].stats) for both in group if (rows := tests[both].rows) is not None]
        found |= dict(zip(group, resampled(score, pairs, f"{seed}/{task}", draws), strict=True))
    return found


def _difference(test: _Test, drawn: Floats | None) -> Difference:
    if test.rows is None or drawn is None:
        return test.plain
    one, other = test.rows
    low, high = np.percentile(drawn, [2.5, 97.5])
    p = 1.0 if test.equal else _p(scores.named(one.score), one.stats, other.stats, drawn)
    return replace(test.plain, low=float(low), high=float(high), p=p)


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


def _mean(row: Sequence[tuple[Difference, Floats]]) -> Difference | None:
    """Of the scores after the last task, over the tasks: the rows of each are resampled by themselves."""
    if not row:
        return None
    fewest = min(len(drawn) for _, drawn in row)
    means = np.mean([drawn[:fewest] for _, drawn in row], axis=0)
    low, high = np.percentile(means, [2.5, 97.5])
    ours, theirs = (float(np.mean([getattr(cell, side) for cell, _ in row])) for side in ("ours", "theirs"))
    first = row[0][0]
    equal = all(cell.p == 1.0 and cell.low == cell.high == 0 for cell, _ in row)
    p, n = 1.0 if equal else _share(means), sum(cell.n for cell, _ in row)
    return replace(first, ours=ours, theirs=theirs, n=n, low=float(low), high=float(high), p=p, decided=False)
