"""An interval holds the mean as often as it says, and nothing is better inside the noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from continual.errors import DataError
from continual.uncertainty import Interval, bootstrap, crossed, differences, interval, student

numbers = st.lists(st.floats(-1, 1), min_size=2, max_size=12)


@given(numbers)
def test_student_is_scipys_interval(values):
    got, error = student(values), stats.sem(values)
    if error > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert (got.low, got.high) == pytest.approx((low, high), abs=1e-9)
    assert got.low <= got.mean <= got.high
    assert got.runs == len(values)


def test_an_interval_is_students_for_runs_that_share_nothing_and_crossed_for_a_full_grid():
    grid = {(seed, order): 0.1 * seed + (order == "y") for seed in range(3) for order in "xyz"}
    assert interval(grid) == crossed(grid)
    expected = student([0.1 * seed for seed in range(3)])
    for orders in ("xxx", "xyz"):  # all in one order, each in an order of its own
        assert interval({(seed, order): 0.1 * seed for seed, order in enumerate(orders)}) == expected
    assert interval({(0, order): 0.1 * place for place, order in enumerate("xyz")}) == expected


@pytest.mark.parametrize("runs", [[], [(0, "x")], [(0, "x"), (0, "y"), (1, "x")]])
def test_there_is_no_interval_of_fewer_than_two_runs_or_of_a_grid_with_a_hole(runs):
    assert interval(dict.fromkeys(runs, 0.5)) is None


def test_equal_runs_leave_no_doubt():
    assert student([0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 2)
    assert crossed({(seed, order): 0.5 for seed in "ab" for order in "xy"}) == Interval(0.5, 0.5, 0.5, 4)


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=12))
def test_the_bootstrap_is_a_function_of_its_arguments_between_the_smallest_and_the_largest(values):
    got = bootstrap(values, draws=200)
    assert got == bootstrap(values, draws=200)
    assert min(values) - 1e-12 <= got.low <= got.high <= max(values) + 1e-12


def test_the_bootstrap_is_near_scipys():
    values = np.random.default_rng(0).normal(size=20)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1), n_resamples=10_000)
    got = bootstrap(values.tolist())
    assert (got.low, got.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def coverage(make, interval, draws: int) -> float:
    """How often the interval of runs whose true mean is 0 holds 0."""
    rng = np.random.default_rng(0)
    return float(np.mean([interval(make(rng)).verdict == "undecided" for _ in range(draws)]))


def test_student_holds_the_mean_in_95_of_100_sets_of_three_runs():
    assert coverage(lambda rng: rng.normal(size=3).tolist(), student, 4000) == pytest.approx(0.95, abs=0.012)


def grid(rng, seeds: int = 4, orders: int = 4):
    table = rng.normal(size=(seeds, 1)) + rng.normal(size=(1, orders)) + rng.normal(size=(seeds, orders))
    return {(seed, order): float(table[seed, order]) for seed in range(seeds) for order in range(orders)}


def test_a_grid_of_seeds_and_orders_holds_the_mean_where_runs_taken_as_unrelated_would_not():
    assert coverage(grid, crossed, 2000) >= 0.95
    assert coverage(grid, lambda runs: student(list(runs.values())), 2000) < 0.8


def test_a_method_compared_with_itself_is_undecided_in_95_of_100_comparisons():
    def compared(rng):
        hard = rng.normal(size=8)  # what seed and order do to every method
        ours, theirs = (dict(enumerate((hard + rng.normal(size=8) / 10).tolist())) for _ in range(2))
        return list(differences(ours, theirs).values())

    assert coverage(compared, student, 2000) == pytest.approx(0.95, abs=0.015)


def test_pairing_finds_a_difference_that_is_smaller_than_the_spread_of_the_runs():
    hard = np.linspace(0.2, 0.9, 8)
    ours, theirs = dict(enumerate(hard + 0.02 + 0.001 * np.sin(range(8)))), dict(enumerate(hard))
    found = list(differences(ours, theirs).values())
    assert student(found).verdict == bootstrap(found).verdict == "better"
    assert student([-value for value in found]).verdict == "worse"
    apart = student(list(ours.values()))
    assert apart.low < student(list(theirs.values())).mean


def test_an_interval_that_ends_at_zero_decides_nothing():
    assert Interval(0.1, 0.0, 0.2, 3).verdict == Interval(-0.1, -0.2, 0.0, 3).verdict == "undecided"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: student([0.5]), "at least 2 runs, got 1"),
        (lambda: bootstrap([0.1, 0.2, 0.3]), "at least 6 runs, got 3"),
        (lambda: student([0.5, float("nan")]), "finite values"),
        (lambda: crossed({(0, 0): 0.5, (0, 1): 0.5}), "at least 2 seeds, got 1"),
        (lambda: crossed({(0, 0): 0.5, (1, 0): 0.5}), "at least 2 runs, got 1"),
        (lambda: crossed({(0, 0): 0.5, (1, 1): 0.5}), r"no run of \[\(0, 1\), \(1, 0\)\]"),
        (lambda: crossed({}), "at least 2"),
        (lambda: differences({0: 0.5, 1: 0.5}, {1: 0.5, 2: 0.5}), "on one side only: 0, 2"),
    ],
)
def test_what_cannot_be_said_is_refused(call, says):
    with pytest.raises(DataError, match=says):
        call()
