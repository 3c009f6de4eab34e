"""What holds for every matrix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continual.metric.base import from_matrix, measure, metrics

score = st.floats(0, 1, allow_nan=False)
size = st.integers(2, 6)


def square(cell):
    return size.flatmap(lambda t: st.lists(st.lists(cell, min_size=t, max_size=t), min_size=t + 1, max_size=t + 1))


def values(table) -> dict[str, float | None]:
    return {name: metric.value for name, metric in measure(from_matrix(table[1:], table[0])).items()}


@given(square(score))
def test_forgetting_is_at_least_minus_backward_transfer(table):
    got = values(table)
    assert got["forgetting"] >= -got["backward_transfer"] - 1e-12


@given(square(score))
def test_accuracy_is_learning_accuracy_plus_backward_transfer_over_the_earlier_tasks(table):
    got, tasks = values(table), len(table) - 1
    change = got["backward_transfer"] * (tasks - 1) / tasks
    assert got["average_accuracy"] == pytest.approx(got["learning_accuracy"] + change)


@given(st.lists(score, min_size=2, max_size=6))
def test_isolated_modules_forget_exactly_nothing(column):
    got = measure(from_matrix([column[: row + 1] for row in range(len(column))]))
    assert got["backward_transfer"].value == 0
    assert got["forgetting"].value == 0
    assert got["average_accuracy"].value == got["learning_accuracy"].value


@given(st.lists(score, min_size=2, max_size=6))
def test_a_bare_encoder_that_is_never_beaten_before_learning_gives_no_forward_transfer(zero):
    assert measure(from_matrix([zero] * len(zero), zero))["forward_transfer"].value == 0


@given(square(st.none() | score))
def test_missing_cells_are_those_of_the_formula_without_a_score(table):
    got, tasks = measure(from_matrix(table[1:], table[0])), len(table) - 1
    for name, metric in metrics().items():
        assert got[name].missing == sum(table[after + 1][task] is None for after, task in metric.cells(tasks))


@given(square(st.none() | score))
def test_a_cell_the_formula_does_not_list_changes_nothing(table):
    for name, metric in metrics().items():
        listed = set(metric.cells(len(table) - 1))
        kept = [[x if (row - 1, task) in listed else None for task, x in enumerate(r)] for row, r in enumerate(table)]
        assert values(kept)[name] == values(table)[name]


@given(square(st.none() | score))
def test_measuring_twice_gives_the_same_and_leaves_the_ledger_as_it_was(table):
    ledger = from_matrix(table[1:], table[0])
    before = list(ledger.cells)
    assert measure(ledger) == measure(ledger)
    assert ledger.cells == before


@given(square(score))
def test_values_stay_in_the_range_of_scores_or_of_their_differences(table):
    for name, value in values(table).items():
        assert (0 if "accuracy" in name else -1) - 1e-12 <= value <= 1 + 1e-12
