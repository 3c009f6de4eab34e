"""How sure a number from several runs is: seeds, orders, intervals, and when one method is better than another.

A *run* is known by what was drawn for it, (seed, order) for instance. Intervals are of 95 % and about the mean over all
runs that could have been drawn. Resampling the test rows within a run is another matter (``continual/score/base.py``).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy.special import stdtrit

from continual.errors import DataError
from continual.stream import sample

Run = TypeVar("Run", bound=Hashable)
Seed = TypeVar("Seed", bound=Hashable)
Order = TypeVar("Order", bound=Hashable)

FEWEST = 6  # pairs: with n of them, all on one side by chance has probability 2 / 2ⁿ, which is below 5 % from here on


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; ``runs`` is how many values went into it."""

    mean: float
    low: float
    high: float
    runs: int

    @property
    def verdict(self) -> Literal["better", "worse", "undecided"]:
        """Of a difference, higher being better: decided only where the interval does not hold 0.

        >>> Interval(0.02, 0.01, 0.03, 5).verdict, Interval(0.02, -0.01, 0.05, 5).verdict
        ('better', 'undecided')
        """
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "undecided"


def student(values: Sequence[float]) -> Interval:
    """Mean ± t · s/√n, with s the sample deviation and t Student's quantile of n-1 degrees (Student 1908).

    For runs that share nothing: each with a seed and an order of its own. Raises DataError for fewer than two, of
    which no deviation is known, and for a value that is not finite.

    >>> found = student([0.7, 0.8, 0.9])
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
    (0.8, 0.552, 1.048)
    """
    table = _table(values, least=2)
    return _about(float(table.mean()), float(table.var(ddof=1)) / len(table), len(table) - 1, len(table))


def crossed(values: Mapping[tuple[Seed, Order], float]) -> Interval:
    """Of a full grid, every seed with every order: runs of one seed, or of one order, are alike.

    Mean ± t · √(v_s/S + v_o/O): v_s is the sample variance of the S means of a seed, v_o that of the O means of an
    order, and t has the degrees of Welch (1947) and Satterthwaite (1946). What is left beside seed and order is in
    both variances, so the interval is rather too wide. ``student`` over the S·O runs would be too narrow.

    Raises DataError where a run of the grid is missing, or there are fewer than two seeds or orders.

    >>> found = crossed({(0, "a"): 0.7, (0, "b"): 0.8, (1, "a"): 0.8, (1, "b"): 0.9})
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
    (0.8, 0.496, 1.104)
    """
    seeds, orders = list(dict.fromkeys(seed for seed, _ in values)), list(dict.fromkeys(order for _, order in values))
    lacking = [(seed, order) for seed in seeds for order in orders if (seed, order) not in values]
    if lacking:
        raise DataError(
            f"expected every seed with every order, got no run of {lacking[:3]}; run them or leave them out"
        )
    if len(seeds) < 2:
        raise DataError(f"expected at least 2 seeds, got {len(seeds)}")
    grid = np.stack([_table([values[seed, order] for order in orders], least=2) for seed in seeds])
    parts = [float(means.var(ddof=1)) / len(means) for means in (grid.mean(1), grid.mean(0))]
    squares = sum(part**2 / (count - 1) for part, count in zip(parts, grid.shape, strict=True))
    freedom = sum(parts) ** 2 / squares if squares else min(grid.shape) - 1
    return _about(float(grid.mean()), sum(parts), freedom, grid.size)


def interval(values: Mapping[tuple[Seed, Order], float]) -> Interval | None:
    """Of the mean, by what the runs share: ``crossed`` for a full grid of several seeds and several orders, ``student``
    for runs that have each another seed or order. None where neither is so, or there are fewer than two.

    Runs of one seed in several orders are an interval over orders at that seed, and the other way round.

    >>> interval({(0, "a"): 0.7, (1, "a"): 0.8, (2, "a"): 0.9}) == student([0.7, 0.8, 0.9])
    True
    >>> interval({(0, "a"): 0.7, (0, "b"): 0.8, (1, "a"): 0.9}) is None
    True
    """
    seeds, orders = (len({run[side] for run in values}) for side in (0, 1))
    full = len(values) == seeds * orders
    try:
        if full and min(seeds, orders) > 1:
            return crossed(values)
        return student(list(values.values())) if full or len(values) == seeds == orders else None
    except DataError:
        return None


def bootstrap(values: Sequence[float], seed: int = 0, draws: int = 10_000) -> Interval:
    """Mean, and the percentile bootstrap over runs (Efron 1979), a function of the arguments alone.

    For runs that share nothing and need not be normal. Of few runs it is too narrow: all of three differences are on
    one side once in four times by chance, and so is then every resample. Raises DataError below six; ``student``
    serves there.
    """
    table = _table(values, least=FEWEST)
    picked = sample.draws(draws * len(table), "runs", seed) % len(table)
    low, high = np.percentile(table[picked.astype(np.int64)].reshape(draws, -1).mean(1), [2.5, 97.5])
    return Interval(float(table.mean()), float(low), float(high), len(table))


def differences(ours: Mapping[Run, float], theirs: Mapping[Run, float]) -> dict[Run, float]:
    """Ours less theirs, run by run: what seed and order do to both falls out. For the functions above, and a verdict.

    Raises DataError unless both have the same runs: a difference of means over other seeds is not paired.

    >>> found = differences({0: 0.75, 1: 0.5, 2: 0.875}, {0: 0.5, 1: 0.25, 2: 0.75})
    >>> student(list(found.values())).verdict
    'better'
    """
    odd = sorted(map(str, ours.keys() ^ theirs.keys()))
    if odd:
        raise DataError(f"expected the same runs on both sides, got on one side only: {', '.join(odd[:5])}")
    return {run: ours[run] - theirs[run] for run in ours}


def _about(mean: float, variance: float, freedom: float, runs: int) -> Interval:
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half, runs)


def _table(values: Sequence[float], least: int) -> np.ndarray:
    table = np.array(values, dtype=np.float64)
    if len(table) < least:
        raise DataError(f"expected at least {least} runs, got {len(table)}; run more seeds or orders")
    if not np.isfinite(table).all():
        raise DataError(f"expected finite values, got {values}; leave out runs whose metric is undefined")
    return table
