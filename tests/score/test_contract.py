"""What every score of the folder keeps. A new file is under contract as soon as it has rows here."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual import folder
from continual.errors import ContinualError
from continual.ledger import wilson
from continual.score import named
from continual.score.base import interval, paired, value

NAMES = folder.names("continual.score")
LABELS = ["O", "B-PER", "I-PER", "B-LOC"]  # of any classification too
AXES = list(np.eye(4))

label = st.integers(0, 3)
labels = label | st.sets(label).map(sorted).map(tuple)
number = st.integers(-50, 50).map(lambda n: n / 10)
text = st.lists(st.sampled_from(["the", "big", "Dog", "cat."])).map(" ".join)
sentence = st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.lists(label, min_size=n, max_size=n).map(tuple)] * 2))
search = st.tuples(st.tuples(*[st.lists(number, min_size=4, max_size=4).map(np.array)] * 2), label)
answer = st.tuples(text, st.lists(text, max_size=2).map(tuple))

# name -> (answers that are all right, what is wanted), and a strategy of one row (found, wanted)
SETS = ([0, (1, 2), 3, ()], [0, (1, 2), 3, ()])
NUMBERS = ([1.0, 3.0, 2.0, 2.0], [1.0, 3.0, 2.0, 2.0])
ANSWERS = (["The dog.", "cat", ""], [("dog",), ("a big dog", "cat"), ()])
SEARCH = ([(AXES[i], AXES[i]) for i in (0, 1, 2, 1)], [0, 1, 2, 1])
ROWS = {
    "accuracy": (SETS, st.tuples(labels, labels)),
    "micro_f1": (SETS, st.tuples(labels, labels)),
    "macro_f1": (SETS, st.tuples(labels, labels)),
    "matthews": (([0, 1, 3, 1], [0, 1, 3, 1]), st.tuples(label, label)),
    "pearson": (NUMBERS, st.tuples(number, number)),
    "spearman": (NUMBERS, st.tuples(number, number)),
    "entity_f1": (([(1, 2, 0), (0, 3)], [(1, 2, 0), (0, 3)]), sentence),
    "token_accuracy": (([(1, 2, 0), (0, 3)], [(1, 2, 0), (0, 3)]), sentence),
    "exact_match": (ANSWERS, answer),
    "answer_f1": (ANSWERS, answer),
    "recall_at_1": (SEARCH, search),
    "mrr": (SEARCH, search),
}
every = pytest.mark.parametrize("name", NAMES)


def several(name: str):
    """A strategy of (found, wanted), 1 to 8 rows."""
    return st.lists(ROWS[name][1], min_size=1, max_size=8).map(lambda rows: tuple(zip(*rows, strict=True)))


def test_every_score_has_rows_in_this_test():
    assert sorted(ROWS) == NAMES


@every
def test_a_score_says_what_it_is(name):
    score = named(name)
    assert folder.name_of("continual.score", score) == name
    assert isinstance(type(score).proportion, bool)
    assert not vars(score)  # no state
    for word in ("found", "wanted", "tatistics", ">>>"):
        assert word in type(score).__doc__, word
    assert import_module(type(score).__module__).__doc__


@every
def test_right_answers_score_one(name):
    score, (found, wanted) = named(name), ROWS[name][0]
    stats = score.rows(found, wanted, LABELS)
    assert value(score, stats) == pytest.approx(1)
    assert stats.shape[0] == len(wanted)


@every
@settings(deadline=None)
@given(data=st.data())
def test_one_row_of_statistics_a_row_and_a_score_in_range(name, data):
    score, (found, wanted) = named(name), data.draw(several(name))
    stats = score.rows(found, wanted, LABELS)
    assert stats.dtype == np.float64
    assert stats.ndim == 2
    assert len(stats) == len(wanted)
    lowest = -1 if name in ("matthews", "pearson", "spearman") else 0
    assert lowest <= value(score, stats) <= 1 + 1e-12


@every
@settings(deadline=None)
@given(data=st.data())
def test_the_order_of_the_rows_does_not_matter(name, data):
    score, (found, wanted) = named(name), data.draw(several(name))
    order = data.draw(st.permutations(range(len(found))))
    stats = score.rows(found, wanted, LABELS)
    again = score.rows([found[i] for i in order], [wanted[i] for i in order], LABELS)
    assert value(score, again) == pytest.approx(value(score, stats), abs=1e-9)
    assert value(score, stats[list(order)]) == pytest.approx(value(score, stats), abs=1e-9)


@every
@settings(deadline=None)
@given(data=st.data())
def test_each_row_once_is_the_score_and_several_sets_at_once_are_each_alone(name, data):
    score, (found, wanted) = named(name), data.draw(several(name))
    stats = score.rows(found, wanted, LABELS)
    counts = np.array([np.ones(len(stats)), np.arange(len(stats)), np.zeros(len(stats)), 3 * np.ones(len(stats))])
    totals = score.total((counts @ stats).reshape(2, 2, -1))
    assert totals.shape == (2, 2)
    assert totals[0, 0] == pytest.approx(value(score, stats), abs=1e-9)
    assert totals[1, 1] == pytest.approx(value(score, stats), abs=1e-9)  # every row three times
    assert totals[0, 1] == pytest.approx(float(score.total(counts[1] @ stats)), abs=1e-9)
    assert totals[1, 0] == 0  # no rows: a number, no warning


@every
def test_an_interval_is_wilsons_for_a_proportion_and_a_bootstrap_for_others(name):
    score, (found, wanted) = named(name), ROWS[name][0]
    stats = score.rows(found, wanted, LABELS)
    low, high = interval(score, stats, seed=0, draws=50)
    assert -1 - 1e-12 <= low <= high <= 1 + 1e-12
    if score.proportion:
        assert low <= value(score, stats) <= high + 1e-12
        assert (low, high) == wilson(len(wanted), len(wanted))
    assert paired(score, stats, stats, seed=0, draws=50) == (0, 0, 0)


@every
def test_unequal_numbers_of_answers_are_refused(name):
    found, wanted = ROWS[name][0]
    for n in (1, len(wanted) - 1):
        with pytest.raises(ValueError, match=r"expected as many|zip\(\)"):
            named(name).rows(found[:n], wanted, LABELS)
        with pytest.raises(ValueError, match=r"expected as many|zip\(\)"):
            named(name).rows(found, wanted[:n], LABELS)


def test_an_unknown_score_is_refused_with_the_choices():
    with pytest.raises(ContinualError, match="unknown score 'bleu'; choose from: accuracy, answer_f1"):
        named("bleu")


def test_scores_need_no_torch():
    code = f"import sys; from continual.score import named; [named(n) for n in {NAMES}]; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "False\n"
