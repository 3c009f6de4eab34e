"""Each formula on a matrix small enough to check by hand."""

from __future__ import annotations

import math

import pytest

from continual.ledger import Cell, Ledger
from continual.metric.accuracy import average_accuracy
from continual.metric.backward import backward_transfer
from continual.metric.base import from_matrix, measure, metrics
from continual.metric.forgetting import forgetting
from continual.metric.forward import forward_transfer
from continual.metric.learning import learning_accuracy

ROWS = [[0.9, 0.5, 0.4], [0.95, 0.8, 0.45], [0.7, 0.85, 0.6]]
ZERO = [0.3, 0.4, 0.5]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (average_accuracy, (0.7 + 0.85 + 0.6) / 3),
        (learning_accuracy, (0.9 + 0.8 + 0.6) / 3),
        (backward_transfer, (-0.2 + 0.05) / 2),
        (forgetting, (0.25 - 0.05) / 2),
        (forward_transfer, (0.1 - 0.05) / 2),
    ],
)
def test_formula_on_three_tasks(metric, value):
    assert metric(from_matrix(ROWS, ZERO)) == pytest.approx(value)


def test_forgetting_is_negative_where_every_task_ends_at_its_best():
    assert forgetting(from_matrix([[0.5], [0.75, 0.5]])) == -0.25


def test_forgetting_does_not_read_rows_from_before_a_task_was_learned():
    seen = [[0.5], [0.5, 0.5], [0.5, 0.5, 0.5]]
    unseen = [[0.5, 1.0, 1.0], [0.5, 0.5, 1.0], [0.5, 0.5, 0.5]]
    assert forgetting(from_matrix(unseen)) == forgetting(from_matrix(seen)) == 0


def test_one_task_has_accuracy_but_no_transfer_and_nothing_counts_as_missing():
    got = measure(from_matrix([[0.75]], [0.5]))
    assert {name: metric.value for name, metric in got.items()} == {
        "average_accuracy": 0.75,
        "learning_accuracy": 0.75,
        "backward_transfer": None,
        "forgetting": None,
        "forward_transfer": None,
    }
    assert all(metric.missing == 0 for metric in got.values())


def test_a_stream_of_no_tasks_is_undefined_everywhere():
    assert all(metric.value is None and metric.missing == 0 for metric in measure(Ledger([])).values())


def test_a_missing_cell_is_left_out_and_counted_not_taken_for_zero():
    rows = [[0.9], [0.9, 0.8], [0.6, None, 0.6]]
    got = measure(from_matrix(rows))
    assert got["average_accuracy"].value == pytest.approx(0.6)
    assert got["average_accuracy"].missing == 1
    assert got["backward_transfer"].value == pytest.approx(-0.3)
    assert got["forgetting"].missing == 1
    assert got["learning_accuracy"].missing == 0


def test_a_cell_whose_score_is_undefined_is_missing_like_one_that_was_never_written():
    ledger = Ledger(["a", "b"])
    ledger.add([Cell("learn", 0, 0, None, 10, why="diverged"), Cell("learn", 0, 1, 0.5, 10, how="ncm")])
    ledger.add([Cell("learn", 1, 0, None, 10, why="diverged"), Cell("learn", 1, 1, 0.75, 10)])
    got = measure(ledger)
    assert (got["average_accuracy"].value, got["average_accuracy"].missing) == (0.75, 1)
    assert (got["backward_transfer"].value, got["backward_transfer"].missing) == (None, 2)


def test_an_unfinished_run_is_not_scored_as_a_shorter_stream():
    ledger = Ledger(["a", "b"])
    ledger.add([Cell("learn", 0, 0, 0.9, 10)])
    got = measure(ledger)
    assert got["average_accuracy"].value is None
    assert got["average_accuracy"].missing == 2


def test_cells_of_compositions_are_not_read():
    plain, composed = from_matrix(ROWS, ZERO), from_matrix(ROWS, ZERO)
    composed.add([Cell("fusion", 2, task, 1.0, 10) for task in range(3)])
    assert measure(plain) == measure(composed)


def test_every_metric_names_its_definition_and_reads_each_cell_once():
    for name, metric in metrics().items():
        assert metric.definition == f"{name}@{metric.version}"
        assert metric.says
        cells = metric.cells(5)
        assert len(cells) == len(set(cells))


def test_undefined_is_nan_for_the_function_and_none_for_the_record():
    assert math.isnan(backward_transfer(from_matrix([[0.5]])))
    assert measure(from_matrix([[0.5]]))["backward_transfer"].value is None
