"""Each formula on a matrix small enough to check by hand."""

from __future__ import annotations

import math

import pytest

from continual.ledger import Cell, Ledger
from continual.metric.backward import backward_transfer
from continual.metric.base import from_matrix, measure, metrics
from continual.metric.forgetting import forgetting, forgetting_with_last

ROWS = [[0.9, 0.5, 0.4], [0.95, 0.8, 0.45], [0.7, 0.85, 0.6]]
ZERO = [0.3, 0.4, 0.5]
COUNTS = [100, 200, 700]
SINGLE = [0.9, 0.7, 0.7]
JOINT = [[0.8], [0.7, 0.9], [0.8, 0.8, 0.8]]
CLASSES = [2, 3, 5]
WHOLE = from_matrix(ROWS, ZERO, COUNTS, SINGLE, JOINT, CLASSES)

BY_HAND = {
    "average_accuracy": (0.7 + 0.85 + 0.6) / 3,
    "micro_average_accuracy": (70 + 170 + 420) / 1000,
    "triangle_accuracy": (0.9 + 0.95 + 0.8 + 0.7 + 0.85 + 0.6) / 6,
    "average_incremental_accuracy_macro": (0.9 + 0.875 + 2.15 / 3) / 3,
    "average_incremental_accuracy_micro": (0.9 + (95 + 160) / 300 + 0.66) / 3,
    "average_mean_class_accuracy": (0.9 + (1.9 + 2.4) / 5 + (1.4 + 2.55 + 3.0) / 10) / 3,
    "area_under_curve": (0.9 / 2 + 0.875 + 2.15 / 3 / 2) / 2,
    "learning_accuracy": (0.9 + 0.8 + 0.6) / 3,
    "plasticity": 2.3 / 3,
    "stability": (0.7 + 0.85) / 2,
    "stability_plasticity": 2 / (1 / 0.775 + 3 / 2.3),
    "minimum_accuracy": (0.7 + 0.85) / 2,
    "worst_case_accuracy": (0.7 + 0.85 + 0.6) / 3,
    "backward_transfer": (-0.2 + 0.05) / 2,
    "backward_transfer_over_tasks": (-0.2 + 0.05) / 3,
    "backward_transfer_all_pairs": (0.05 - 0.2 + 0.05) / 3,
    "positive_backward_transfer": 0.0,
    "remembering": 1 - 0.1 / 3,
    "forgetting": (0.25 - 0.05) / 2,
    "forgetting_with_last": 0.25 / 2,
    "forgetting_from_first": (0.2 - 0.05) / 2,
    "forward_transfer": (0.1 - 0.05) / 2,
    "forward_transfer_without_baseline": (0.5 + 0.45) / 2,
    "forward_transfer_all_pairs": (0.5 + 0.4 + 0.45) / 3,
    "forward_transfer_over_single": (0.1 - 0.1) / 2,
    "intransigence": (-0.1 + 0.1 + 0.2) / 3,
    "rectified_forgetting": (0.1 - 0.05 + 0.2) / 3,
    "forgetting_rate": (0.4 / 0.5 + 0.45 / 0.4 + 0.1 / 0.3) / 3 - 1,
}


@pytest.mark.parametrize("name", metrics())
def test_formula_on_three_tasks(name):
    got = measure(WHOLE)[name]
    assert got.value == pytest.approx(BY_HAND[name])
    assert got.missing == 0


def test_every_dialect_has_a_name():
    assert set(metrics()) == set(BY_HAND)


def test_forgetting_is_negative_where_every_task_ends_at_its_best_unless_the_last_row_is_read_too():
    best_last = from_matrix([[0.5], [0.75, 0.5]])
    assert forgetting(best_last) == -0.25
    assert forgetting_with_last(best_last) == 0


def test_forgetting_does_not_read_rows_from_before_a_task_was_learned():
    seen = [[0.5], [0.5, 0.5], [0.5, 0.5, 0.5]]
    unseen = [[0.5, 1.0, 1.0], [0.5, 0.5, 1.0], [0.5, 0.5, 0.5]]
    assert forgetting(from_matrix(unseen)) == forgetting(from_matrix(seen)) == 0
    assert forgetting_with_last(from_matrix(unseen)) == 0


def test_a_task_with_nothing_but_its_last_score_is_not_taken_for_one_that_forgot_nothing():
    assert forgetting_with_last(from_matrix([[0.9], [None, None], [0.4, 0.8, 0.8]])) == pytest.approx(0.5)
    assert math.isnan(forgetting_with_last(from_matrix([[None], [0.4, 0.8]])))


ONE_TASK = {  # what one task has; all else is undefined for it
    "average_accuracy": 0.75,
    "micro_average_accuracy": 0.75,
    "triangle_accuracy": 0.75,
    "average_incremental_accuracy_macro": 0.75,
    "average_incremental_accuracy_micro": 0.75,
    "average_mean_class_accuracy": 0.75,
    "learning_accuracy": 0.75,
    "plasticity": 0.75,
    "worst_case_accuracy": 0.75,
    "intransigence": 0.125,
    "rectified_forgetting": 0.125,
    "forgetting_rate": -1 / 3,
}


def test_one_task_has_accuracy_but_no_transfer_and_nothing_counts_as_missing():
    got = measure(from_matrix([[0.75]], [0.5], counts=[8], single=[0.75], joint=[[0.875]], classes=[2]))
    assert {name: metric.value for name, metric in got.items() if metric.value is not None} == pytest.approx(ONE_TASK)
    assert all(metric.missing == 0 for metric in got.values())


def test_a_stream_of_no_tasks_is_undefined_everywhere():
    assert all(metric.value is None and metric.missing == 0 for metric in measure(Ledger([])).values())


def test_a_missing_cell_is_left_out_and_counted_not_taken_for_zero():
    rows = [[0.9], [0.9, 0.8], [0.6, None, 0.6]]
    got = measure(from_matrix(rows, counts=[1, 5, 3]))
    assert got["average_accuracy"].value == pytest.approx(0.6)
    assert got["average_accuracy"].missing == 1
    assert got["micro_average_accuracy"].value == pytest.approx(0.6)
    assert got["micro_average_accuracy"].missing == 1
    assert got["backward_transfer"].value == pytest.approx(-0.3)
    assert got["backward_transfer_over_tasks"].value == pytest.approx(-0.2)
    assert got["stability"].value == pytest.approx(0.6)
    assert got["forgetting"].missing == 1
    assert got["learning_accuracy"].missing == 0
    assert got["minimum_accuracy"].missing == 1
    assert got["worst_case_accuracy"].value == pytest.approx(0.6)


def test_without_reference_runs_what_needs_them_is_undefined_and_says_how_many_cells_it_lacks():
    got = measure(from_matrix(ROWS, ZERO, COUNTS, classes=CLASSES))
    assert {name: metric.missing for name, metric in got.items() if metric.value is None} == {
        "forward_transfer_over_single": 2,
        "intransigence": 3,
        "rectified_forgetting": 3,
        "forgetting_rate": 3,
    }


def test_a_reference_of_some_tasks_only_leaves_the_others_out():
    got = measure(from_matrix(ROWS, ZERO, single=[None, 0.7], joint=[[0.8], [None, 0.9]]))
    assert got["forward_transfer_over_single"].value == pytest.approx(0.1)
    assert got["forward_transfer_over_single"].missing == 1
    assert got["intransigence"].value == pytest.approx(0.0)
    assert got["intransigence"].missing == 1


def test_a_model_alone_is_looked_up_after_its_own_task_so_that_a_comparison_at_the_end_is_no_reference():
    ledger = from_matrix(ROWS, ZERO)
    ledger.add([Cell("single", 2, 1, 0.7, 10)])
    assert measure(ledger)["forward_transfer_over_single"].value is None


def test_a_joint_model_that_gains_nothing_has_no_share_to_lose():
    got = measure(from_matrix([[0.5], [0.5, 0.75]], [0.25, 0.5], joint=[[], [0.25, 1.0]]))
    assert got["forgetting_rate"].value == pytest.approx(-0.5)
    assert measure(from_matrix([[0.5]], [0.25], joint=[[0.25]]))["forgetting_rate"].value is None


def test_without_counts_nothing_can_be_weighted_by_rows():
    got = measure(from_matrix(ROWS, ZERO))
    assert got["micro_average_accuracy"].value is None
    assert got["average_incremental_accuracy_micro"].value is None
    assert got["average_incremental_accuracy_macro"].value is not None


def test_without_classes_there_is_no_class_accuracy_and_every_cell_is_missing():
    got = measure(from_matrix(ROWS, ZERO, COUNTS))["average_mean_class_accuracy"]
    assert (got.value, got.missing) == (None, 6)


def test_the_mean_over_classes_is_read_and_not_the_score():
    ledger = Ledger(["a", "b"])
    ledger.add([Cell("learn", 0, 0, 0.9, 10, recall=0.5, classes=2)])
    ledger.add([Cell("learn", 1, 0, 0.9, 10, recall=0.25, classes=2), Cell("learn", 1, 1, 0.8, 10)])
    got = measure(ledger)["average_mean_class_accuracy"]
    assert (got.value, got.missing) == (0.375, 1)  # the second task has no classes: it is left out and counted


@pytest.mark.parametrize(("rows", "value"), [([[0.0], [0.0, 0.0]], 0.0), ([[0.5], [-0.5, 0.5]], None)])
def test_stability_and_plasticity_have_a_harmonic_mean_where_neither_is_negative(rows, value):
    assert measure(from_matrix(rows))["stability_plasticity"].value == value


def test_a_cell_whose_score_is_undefined_is_missing_like_one_that_was_never_written():
    ledger = Ledger(["a", "b"])
    ledger.add([Cell("learn", 0, 0, None, 10, why="diverged"), Cell("learn", 0, 1, 0.5, 10, how="ncm")])
    ledger.add([Cell("learn", 1, 0, None, 10, why="diverged"), Cell("learn", 1, 1, 0.75, 10)])
    got = measure(ledger)
    assert (got["average_accuracy"].value, got["average_accuracy"].missing) == (0.75, 1)
    assert (got["micro_average_accuracy"].value, got["micro_average_accuracy"].missing) == (0.75, 1)
    assert (got["backward_transfer"].value, got["backward_transfer"].missing) == (None, 2)


def test_an_unfinished_run_is_not_scored_as_a_shorter_stream():
    ledger = Ledger(["a", "b"])
    ledger.add([Cell("learn", 0, 0, 0.9, 10)])
    got = measure(ledger)
    assert got["average_accuracy"].value is None
    assert got["average_accuracy"].missing == 2


def test_cells_of_compositions_are_not_read():
    plain, composed = from_matrix(ROWS, ZERO, COUNTS), from_matrix(ROWS, ZERO, COUNTS)
    composed.add([Cell("fusion", 2, task, 1.0, COUNTS[task]) for task in range(3)])
    assert measure(plain) == measure(composed)


def test_every_metric_names_its_definition_and_reads_each_cell_once():
    for name, metric in metrics().items():
        assert metric.definition == f"{name}@{metric.version}"
        assert metric.says
        for tasks in range(6):
            cells, references = metric.cells(tasks), metric.references(tasks)
            assert len(cells) == len(set(cells))
            assert len(references) == len(set(references))
            assert all(-1 <= after < tasks and 0 <= task < tasks for after, task in cells)
            assert all(stage in ("single", "joint") and task <= after < tasks for stage, after, task in references)


def test_undefined_is_nan_for_the_function_and_none_for_the_record():
    assert math.isnan(backward_transfer(from_matrix([[0.5]])))
    assert measure(from_matrix([[0.5]]))["backward_transfer"].value is None
