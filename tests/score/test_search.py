"""Ranks in a search against a loop over distinct texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from continual.score import base
from continual.score.base import ranks, value
from continual.score.mrr import MRR
from continual.score.recall_at_1 import RecallAt1

X, Y, BETWEEN = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0])


def pairs(n: int, ids: int, seed: int, d: int = 3):
    """Queries near their texts; rows with one id have one vector."""
    rng = np.random.default_rng(seed)
    wanted = rng.integers(0, ids, n)
    texts = rng.normal(size=(ids, d)).astype(np.float32)
    queries = texts[wanted] + rng.normal(size=(n, d)).astype(np.float32)
    return list(zip(queries, texts[wanted], strict=True)), wanted.tolist()


def by_hand(found, wanted) -> list[int]:
    near = cosine_similarity(np.float64([q for q, _ in found]), np.float64([c for _, c in found]))
    ranked = []
    for row, own in enumerate(wanted):
        others = {i: max(near[row, j] for j, k in enumerate(wanted) if k == i) for i in wanted if i != own}
        ranked.append(1 + sum(other > near[row, row] - 1e-9 for other in others.values()))
    return ranked


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_the_rank_is_among_the_distinct_texts_of_all_rows(n, ids, seed):
    found, wanted = pairs(n, ids, seed)
    oracle = by_hand(found, wanted)
    assert ranks(found, wanted).tolist() == oracle
    assert value(MRR(), MRR().rows(found, wanted, [])) == pytest.approx(np.mean(1 / np.array(oracle)))
    assert value(RecallAt1(), RecallAt1().rows(found, wanted, [])) == pytest.approx(oracle.count(1) / n)


def test_a_tie_counts_against_the_row():
    assert ranks([(X, BETWEEN), (Y, BETWEEN)], [0, 1]).tolist() == [2, 2]


def test_rows_with_the_same_text_are_no_rivals_and_count_once():
    assert ranks([(X, X), (X, X)], [7, 7]).tolist() == [1, 1]
    assert ranks([(X, Y), (X, X), (X, X), (X, X)], [0, 7, 7, 7]).tolist() == [2, 1, 1, 1]


def test_ids_may_be_hashes():
    assert ranks([(X, X), (Y, Y), (X, BETWEEN)], [2**62, 2**62 + 1, -(2**63)]).tolist() == [1, 1, 2]
    with pytest.raises(OverflowError):  # and not two ids rounded to one
        ranks([(X, X), (X, Y)], [2**63 + 1, 2**63 + 2])


def test_length_does_not_matter():
    assert ranks([(X, 0.1 * X), (Y, 9 * Y), (BETWEEN, BETWEEN)], [0, 1, 2]).tolist() == [1, 1, 1]


def test_vectors_that_are_equal_tie_however_the_product_rounds():
    text = np.random.default_rng(0).normal(size=37).astype(np.float32)
    queries = np.random.default_rng(1).normal(size=(50, 37)).astype(np.float32)
    assert ranks([(query, text) for query in queries], range(50)).tolist() == [50] * 50


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_never_first(odd):
    broken = np.array([odd, 1.0])
    assert ranks([(broken, X), (Y, Y)], [0, 1])[0] == 2
    assert ranks([(X, broken), (Y, Y)], [0, 1]).tolist() == [2, 2]


def test_a_zero_vector_is_as_near_to_all():
    assert ranks([(0 * X, X), (Y, Y)], [0, 1]).tolist() == [2, 1]


def test_blocks_of_queries_give_what_all_at_once_give(monkeypatch):
    found, wanted = pairs(50, 20, 0)
    whole = ranks(found, wanted)
    monkeypatch.setattr(base, "BLOCK", 120)  # two queries at a time
    assert np.array_equal(ranks(found, wanted), whole)
