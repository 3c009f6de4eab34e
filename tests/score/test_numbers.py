"""Correlations against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.errors import DataError
from continual.score.base import value
from continual.score.pearson import Pearson
from continual.score.spearman import Spearman

number = st.integers(-500, 500).map(lambda n: n / 100)
few = st.integers(0, 4).map(float)  # many ties


def rows(cell):
    varied = st.lists(st.tuples(cell, cell), min_size=2, max_size=40)
    return varied.filter(lambda pairs: all(len(set(column)) > 1 for column in zip(*pairs, strict=True)))


def score(kind, pairs) -> float:
    found, wanted = zip(*pairs, strict=True)
    return value(kind, kind.rows(found, wanted, []))


@settings(deadline=None)
@given(rows(number | few))
def test_pearson_is_scipys(pairs):
    assert score(Pearson(), pairs) == pytest.approx(scipy.stats.pearsonr(*zip(*pairs, strict=True))[0], abs=1e-9)


@settings(deadline=None)
@given(rows(number | few))
def test_spearman_is_scipys(pairs):
    assert score(Spearman(), pairs) == pytest.approx(scipy.stats.spearmanr(*zip(*pairs, strict=True))[0], abs=1e-9)


@settings(deadline=None)
@given(rows(number), st.sampled_from([1e-6, 1.0, 1e6]), st.integers(-9, 9).map(lambda n: n * 1e6))
def test_moving_and_scaling_the_answers_changes_no_correlation(pairs, scale, shift):
    moved = [(found * scale + shift * scale, wanted) for found, wanted in pairs]
    assert score(Pearson(), moved) == pytest.approx(score(Pearson(), pairs), abs=1e-6)


@settings(deadline=None)
@given(rows(number))
def test_ranks_do_not_see_a_monotone_change(pairs):
    assert score(Spearman(), [(np.exp(f), w) for f, w in pairs]) == pytest.approx(score(Spearman(), pairs), abs=1e-12)


@pytest.mark.parametrize("kind", [Pearson(), Spearman()])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e8 / 3])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_constant_correlates_with_nothing(kind, constant, n):
    assert score(kind, [(constant, float(i)) for i in range(n)]) == 0
    assert score(kind, [(float(i), constant) for i in range(n)]) == 0


def test_a_resample_of_one_row_over_and_over_is_constant():
    rng = np.random.default_rng(0)
    stats = Pearson().rows(rng.normal(size=50).tolist(), rng.normal(size=50).tolist(), [])
    for times in (2, 3, 7, 50):
        assert Pearson().total(times * stats).tolist() == [0] * 50


def test_a_resample_of_rows_with_one_answer_is_constant():
    rng = np.random.default_rng(0)
    few, many = [0.1, 1 / 3, 0.7] * 30, rng.normal(size=90).tolist()
    same = np.kron(np.ones(30), np.eye(3))  # three resamples: the rows with each of the answers
    for pair in (few, many), (many, few):
        assert Pearson().total(same @ Pearson().rows(*pair, [])).tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", [Pearson(), Spearman()])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(kind, odd):
    for pair in ([odd, 1.0], [0.0, 1.0]), ([0.0, 1.0], [1.0, odd]):
        with pytest.raises(DataError, match="finite"):
            kind.rows(*pair, [])
