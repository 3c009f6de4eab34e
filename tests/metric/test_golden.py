"""Against runs that others published: the numbers of the golden table, to six decimals of a percent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from continual.metric.base import from_matrix, measure

RUNS = json.loads((Path(__file__).parent / "golden.json").read_text())["runs"]

# Macro ACC, micro ACC, A, AIA macro, AIA micro, LA, BWT, BWT over T, BWT over all pairs, forgetting from the first
# score, from the best before the last, from the best with the last: as a person reads them, in two decimals.
TABLE = {
    "order6_seqlora": (32.04, 32.43, 54.24, 54.90, 51.66, 76.81, -47.96, -44.77, -24.60, 47.96, 48.95, 48.95),
    "order6_inclora": (58.44, 58.49, 60.85, 59.13, 55.56, 76.58, -19.44, -18.14, -17.97, 19.44, 20.38, 20.38),
    "order6_olora": (72.17, 73.88, 70.29, 67.82, 67.38, 72.86, -0.73, -0.68, -2.53, 0.73, 1.74, 2.05),
    "order1_seqft": (67.77, 67.77, 71.29, 75.95, 75.95, 78.64, -14.50, -10.87, -12.58, 14.50, 14.50, 14.50),
    "order1_inclora": (68.62, 68.62, 71.08, 75.78, 75.78, 79.53, -14.55, -10.91, -14.98, 14.55, 14.55, 14.55),
    "order1_olora": (78.37, 78.37, 79.52, 82.70, 82.70, 79.25, -1.18, -0.88, -0.89, 1.18, 1.18, 1.18),
}
COLUMNS = (
    "average_accuracy",
    "micro_average_accuracy",
    "triangle_accuracy",
    "average_incremental_accuracy_macro",
    "average_incremental_accuracy_micro",
    "learning_accuracy",
    "backward_transfer",
    "backward_transfer_over_tasks",
    "backward_transfer_all_pairs",
    "forgetting_from_first",
    "forgetting",
    "forgetting_with_last",
)


def measured(run: str):
    rows = [[score / 100 for score in row] for row in RUNS[run]["rows"]]
    return measure(from_matrix(rows, counts=RUNS[run]["counts"]))


@pytest.mark.parametrize("run", RUNS)
def test_metrics_equal_the_golden_values(run):
    expected, got = RUNS[run]["metrics"], measured(run)
    assert expected
    for name, value in expected.items():
        assert 100 * got[name].value == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("run", TABLE)
def test_metrics_equal_the_golden_table(run):
    got = measured(run)
    assert [100 * got[name].value for name in COLUMNS] == pytest.approx(TABLE[run], abs=0.01)
    assert set(RUNS[run]["metrics"]) == set(COLUMNS)


def test_a_row_that_was_never_evaluated_is_counted_and_only_what_it_feeds_is_affected():
    got = measured("order1_seqlora")  # its third row is missing
    assert {name: got[name].missing for name in COLUMNS} == {
        "average_accuracy": 0,
        "micro_average_accuracy": 0,
        "triangle_accuracy": 3,
        "average_incremental_accuracy_macro": 3,
        "average_incremental_accuracy_micro": 3,
        "learning_accuracy": 1,
        "backward_transfer": 1,
        "backward_transfer_over_tasks": 1,
        "backward_transfer_all_pairs": 3,
        "forgetting_from_first": 1,
        "forgetting": 3,
        "forgetting_with_last": 3,
    }
    rows = RUNS["order1_seqlora"]["rows"]
    pairs = [rows[3][0] - rows[0][0], rows[3][1] - rows[1][1]]  # the third task's first score is not there
    assert 100 * got["backward_transfer"].value == pytest.approx(sum(pairs) / 2)


def test_forward_transfer_is_undefined_where_unseen_tasks_were_not_scored():
    got = measured("order1_olora")
    assert (got["forward_transfer"].value, got["forward_transfer"].missing) == (None, 6)
    assert (got["forward_transfer_without_baseline"].value, got["forward_transfer_without_baseline"].missing) == (
        None,
        3,
    )


def test_forgetting_with_and_without_the_last_row_differ_only_where_a_task_is_best_at_the_end():
    for run in TABLE:
        rows = RUNS[run]["rows"]
        best_last = any(rows[-1][task] > max(row[task] for row in rows[task:-1]) for task in range(len(rows) - 1))
        got = measured(run)
        assert (got["forgetting"].value != got["forgetting_with_last"].value) == best_last
