"""Intervals: by resampling sums of statistics, and Wilson's."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.errors import DataError
from continual.ledger import wilson
from continual.score.accuracy import Accuracy
from continual.score.answer_f1 import AnswerF1
from continual.score.base import _counts, _resampled, interval, paired, value
from continual.score.matthews import Matthews
from continual.score.micro_f1 import MicroF1
from continual.score.pearson import Pearson

RNG = np.random.default_rng(0)
LABELS = ["a", "b", "c"]


def shares(n: int, rng=RNG):
    """Statistics of a mean: ``AnswerF1`` of rows with these scores."""
    return np.stack([rng.random(n), np.ones(n)], axis=1)


def guesses(n: int, right: float, rng=RNG):
    """(found, wanted) where about this share is right."""
    wanted = rng.integers(0, 3, n)
    found = np.where(rng.random(n) < right, wanted, rng.integers(0, 3, n))
    return found.tolist(), wanted.tolist()


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 3))
def test_the_interval_of_a_proportion_is_wilsons_and_holds_the_score(rows, seed):
    stats = Accuracy().rows(rows, [True] * len(rows), LABELS)
    low, high = interval(Accuracy(), stats, seed)
    assert (low, high) == wilson(sum(rows), len(rows))
    assert low - 1e-12 <= value(Accuracy(), stats) <= high + 1e-12


def test_the_bootstrap_of_a_mean_is_that_of_scipy():
    stats = shares(150)
    ours = interval(AnswerF1(), stats, seed=0, draws=10000)
    theirs = scipy.stats.bootstrap((stats[:, 0],), np.mean, n_resamples=10000, method="percentile", rng=0)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=2e-3)


def test_the_bootstrap_of_a_correlation_is_that_of_scipy_on_the_rows_themselves():
    x = RNG.normal(size=80)
    y = x + RNG.normal(size=80)
    ours = interval(Pearson(), Pearson().rows(x.tolist(), y.tolist(), []), seed=0, draws=5000)
    theirs = scipy.stats.bootstrap(
        (x, y), lambda a, b: scipy.stats.pearsonr(a, b)[0], paired=True, n_resamples=5000, method="percentile", rng=0,
        vectorized=False,
    )  # fmt: skip
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=1e-2)


@pytest.mark.parametrize("score", [MicroF1(), Matthews()], ids=["micro_f1", "matthews"])
def test_a_resample_of_the_sums_is_the_score_of_the_resampled_rows(score):
    found, wanted = guesses(30, 0.5)
    totals = _resampled(score, 7, 20, score.rows(found, wanted, LABELS))[0]
    for draw, total in enumerate(totals):
        again = np.repeat(np.arange(30), _counts(30, 7, draw).astype(int))
        rows = score.rows([found[i] for i in again], [wanted[i] for i in again], LABELS)
        assert total == pytest.approx(value(score, rows))


def test_a_paired_interval_is_narrower_than_that_of_independent_resamples():
    ours = shares(200)
    theirs = ours - np.array([0.1, 0.0]) * RNG.random((200, 1))
    difference, low, high = paired(AnswerF1(), ours, theirs, seed=0)
    assert low < difference < high
    assert difference == pytest.approx(value(AnswerF1(), ours) - value(AnswerF1(), theirs))
    a, b = interval(AnswerF1(), ours, seed=0)
    assert high - low < (b - a) / 4


def test_a_paired_difference_is_the_bootstrap_of_the_difference_of_rows():
    ours, theirs = shares(120), shares(120)
    difference, low, high = paired(AnswerF1(), ours, theirs, seed=0, draws=10000)
    rows = ours[:, 0] - theirs[:, 0]
    other = scipy.stats.bootstrap((rows,), np.mean, n_resamples=10000, method="percentile", rng=0)
    assert difference == pytest.approx(rows.mean())
    assert (low, high) == pytest.approx(tuple(other.confidence_interval), abs=4e-3)


def test_the_same_answers_differ_by_nothing():
    stats = MicroF1().rows(*guesses(50, 0.7), LABELS)
    assert paired(MicroF1(), stats, stats.copy(), seed=0) == (0, 0, 0)


def test_swapping_the_pair_turns_the_difference_around():
    ours, theirs = shares(40), shares(40)
    difference, low, high = paired(AnswerF1(), ours, theirs, seed=1)
    assert paired(AnswerF1(), theirs, ours, seed=1) == pytest.approx((-difference, -high, -low))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    held, rng = 0, np.random.default_rng(1)
    for seed in range(200):
        low, high = interval(AnswerF1(), shares(60, rng), seed, draws=300)
        held += low <= 0.5 <= high
    assert 0.90 <= held / 200 <= 0.99


def test_draws_are_a_function_of_seed_and_number_alone_whatever_the_chunks():
    stats = shares(50)
    totals = _resampled(AnswerF1(), 3, 100, stats)
    assert np.array_equal(_resampled(AnswerF1(), 3, 40, stats), totals[:, :40])
    wide = np.hstack([stats, np.zeros((50, 2**17))])  # 8 resamples a chunk, not all at once
    assert np.allclose(_resampled(AnswerF1(), 3, 20, wide), totals[:, :20], rtol=1e-12, atol=0)
    assert interval(AnswerF1(), stats, seed=3) == interval(AnswerF1(), stats, seed=3) != interval(AnswerF1(), stats, 4)


def test_the_stream_of_resamples_stays_what_it_was():
    assert _counts(8, seed=0, draw=0).tolist() == [0, 2, 1, 1, 0, 0, 4, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 5))
def test_a_resample_has_as_many_rows_as_there_are(n, seed, draw):
    counts = _counts(n, seed, draw)
    assert counts.shape == (n,)
    assert counts.sum() == n


def test_rows_are_drawn_evenly():
    counts = sum(_counts(10, 0, draw) for draw in range(2000))
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_ten_thousand_rows_need_less_than_two_hundred_megabytes():
    stats = MicroF1().rows(*guesses(10000, 0.8), LABELS)
    tracemalloc.start()
    low, high = interval(MicroF1(), stats, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert low < value(MicroF1(), stats) < high
    assert peak < 200e6


def test_no_rows_have_no_score():
    nothing = np.zeros((0, 2))
    for call in (
        lambda: value(Accuracy(), nothing),
        lambda: interval(Accuracy(), nothing, 0),
        lambda: interval(MicroF1(), nothing, 0),
        lambda: paired(MicroF1(), nothing, nothing, 0),
    ):
        with pytest.raises(DataError, match="at least one row"):
            call()


def test_pairs_must_be_of_the_same_rows():
    with pytest.raises(ValueError, match="equal statistics"):
        paired(AnswerF1(), shares(3), shares(4), 0)
