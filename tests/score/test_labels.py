"""Scores of labels against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from continual.errors import DataError
from continual.score.accuracy import Accuracy
from continual.score.base import value
from continual.score.macro_f1 import MacroF1
from continual.score.matthews import Matthews
from continual.score.micro_f1 import MicroF1

LABELS = ["a", "b", "c", "d", "e"]
label = st.integers(0, 4)
pairs = st.lists(st.tuples(label, label), min_size=1, max_size=40)
labelset = st.sets(label).map(sorted).map(tuple)
set_pairs = st.lists(st.tuples(labelset, labelset), min_size=1, max_size=40)


def score(kind, rows) -> float:
    found, wanted = zip(*rows, strict=True)
    return value(kind, kind.rows(found, wanted, LABELS))


def columns(sets):
    return np.array([[int(label in row) for label in range(len(LABELS))] for row in sets])


def swapped(rows):
    """(wanted, found) as scikit-learn takes them, sets as indicator columns."""
    found, wanted = zip(*rows, strict=True)
    return (wanted, found) if isinstance(found[0], int) else (columns(wanted), columns(found))


@settings(deadline=None)
@given(pairs | set_pairs)
def test_accuracy_of_labels_and_of_sets_is_scikit_learns(rows):
    assert score(Accuracy(), rows) == pytest.approx(accuracy_score(*swapped(rows)))


@settings(deadline=None)
@given(pairs)
def test_micro_f1_of_one_label_a_row_is_scikit_learns_and_the_accuracy(rows):
    assert score(MicroF1(), rows) == pytest.approx(f1_score(*swapped(rows), average="micro"))
    assert score(MicroF1(), rows) == pytest.approx(score(Accuracy(), rows))


@settings(deadline=None)
@given(set_pairs)
def test_micro_f1_of_sets_is_scikit_learns(rows):
    assert score(MicroF1(), rows) == pytest.approx(f1_score(*swapped(rows), average="micro", zero_division=0))


@settings(deadline=None)
@given(pairs)
def test_macro_f1_of_one_label_a_row_is_scikit_learns_default(rows):
    assert score(MacroF1(), rows) == pytest.approx(f1_score(*swapped(rows), average="macro"))


@settings(deadline=None)
@given(set_pairs.filter(lambda rows: any(found or wanted for found, wanted in rows)))
def test_macro_f1_of_sets_leaves_out_labels_that_never_occur(rows):
    assert score(MacroF1(), rows) == pytest.approx(f1_score(*swapped(rows), average="macro", zero_division=math.nan))


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None)
@given(pairs)
def test_matthews_is_scikit_learns(rows):
    assert score(Matthews(), rows) == pytest.approx(matthews_corrcoef(*swapped(rows)), abs=1e-12)


@pytest.mark.parametrize("kind", [MicroF1(), MacroF1()])
def test_nothing_found_where_nothing_is_wanted_is_zero(kind):
    assert score(kind, [((), ()), ((), ())]) == 0


def test_one_label_for_all_rows_has_no_correlation_even_if_right():
    assert score(Matthews(), [(1, 1), (1, 1)]) == 0


@pytest.mark.parametrize("kind", [MicroF1(), MacroF1(), Matthews()])
@pytest.mark.parametrize("odd", [-1, 5])
def test_an_index_that_is_no_labels_is_refused(kind, odd):
    with pytest.raises(DataError, match=f"row 1: expected labels from 0 to 4, got {odd}"):
        kind.rows([0, odd], [0, 0], LABELS)
