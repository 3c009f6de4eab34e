"""Against runs that others published: the numbers of the golden table, to six decimals of a percent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from continual.metric.base import from_matrix, measure

RUNS = json.loads((Path(__file__).parent / "golden.json").read_text())["runs"]


def measured(run: str):
    return measure(from_matrix([[score / 100 for score in row] for row in RUNS[run]["rows"]]))


@pytest.mark.parametrize("run", RUNS)
def test_metrics_equal_the_golden_table(run):
    expected, got = RUNS[run]["metrics"], measured(run)
    assert expected
    for name, value in expected.items():
        assert 100 * got[name].value == pytest.approx(value, abs=1e-6), name


def test_every_golden_metric_is_covered_by_a_complete_run():
    assert set(RUNS["order1_olora"]["metrics"]) == set(measured("order1_olora")) - {"forward_transfer"}


def test_a_row_that_was_never_evaluated_is_counted_and_only_what_it_feeds_is_affected():
    got = measured("order1_seqlora")  # its third row is missing
    assert {name: metric.missing for name, metric in got.items() if name != "forward_transfer"} == {
        "average_accuracy": 0,
        "learning_accuracy": 1,
        "backward_transfer": 1,
        "forgetting": 3,
    }
    rows = RUNS["order1_seqlora"]["rows"]
    pairs = [rows[3][0] - rows[0][0], rows[3][1] - rows[1][1]]  # the third task's first score is not there
    assert 100 * got["backward_transfer"].value == pytest.approx(sum(pairs) / 2)


def test_forward_transfer_is_undefined_where_unseen_tasks_were_not_scored():
    forward = measured("order1_olora")["forward_transfer"]
    assert forward.value is None
    assert forward.missing == 6
