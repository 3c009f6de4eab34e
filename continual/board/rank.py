"""Rows by their mean over runs, each compared with all above it on the same seeds and orders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from continual.board.records import Entry
from continual.board.rules import Job, Rules
from continual.uncertainty import Interval, differences, interval


@dataclass(frozen=True)
class Row:
    """Runs of one set of choices, and of each the board's metric."""

    name: str
    runs: dict[Job, Entry]
    values: dict[Job, float]


@dataclass(frozen=True)
class Standing:
    """A row in its place.

    rank   one more than the rows above that beat it: whose difference, run by run, is not inside the noise; and never
           better than that of the row above
    score  mean over the runs; of one run the interval is without bounds
    over   the row's values less those of the first row, run by run, the better being above 0; None of the first row
    tie    the row above has the same rank
    """

    rank: int
    row: Row
    score: Interval
    over: Interval | None
    tie: bool


def rank(rules: Rules, rows: Sequence[Row]) -> list[Standing]:
    """Rows that have all their runs: the best first; of equal means by name."""
    sign = -1 if rules.formula().loss else 1
    scored = [(row, _score(row.values)) for row in rows]
    scored.sort(key=lambda item: (-sign * item[1].mean, item[0].name))
    found = list[Standing]()
    for row, score in scored:
        over = [_over(row.values, above.row.values, sign) for above in found]
        beaten = sum(difference.verdict == "worse" for difference in over)
        last = found[-1].rank if found else 0
        place = max(1 + beaten, last)
        found.append(Standing(place, row, score, over[0] if over else None, place == last))
    return found


def _over(ours: Mapping[Job, float], theirs: Mapping[Job, float], sign: int) -> Interval:
    return _score({job: sign * value for job, value in differences(ours, theirs).items()})


def _score(values: Mapping[Job, float]) -> Interval:
    """A single run says nothing of others: its interval has no bounds."""
    return interval(values) or Interval(fmean(values.values()), -math.inf, math.inf, len(values))
