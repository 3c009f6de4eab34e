"""What holds for every matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.ledger import Ledger
from continual.metric.base import from_matrix, measure, metrics

score = st.floats(0, 1, allow_nan=False)
size = st.integers(2, 6)


def square(cell):
    """A row "zero", then a row a task."""
    return size.flatmap(lambda t: st.lists(st.lists(cell, min_size=t, max_size=t), min_size=t + 1, max_size=t + 1))


@st.composite
def whole(draw, cell):
    """A ledger with its test rows and its references, and the tables that it was made of: stage to rows."""
    zero, *rows = draw(square(cell))
    tasks = len(rows)
    row = st.lists(cell, min_size=tasks, max_size=tasks)
    counts = draw(st.lists(st.integers(1, 1000), min_size=tasks, max_size=tasks))
    single, joint = draw(row), [draw(row) for _ in range(tasks)]
    classes = draw(st.lists(st.integers(2, 50), min_size=tasks, max_size=tasks))
    tables = {"zero": zero, "learn": rows, "single": single, "joint": joint, "counts": counts, "classes": classes}
    return made(tables)


def made(tables) -> tuple[Ledger, dict]:
    given = [tables[name] for name in ("learn", "zero", "counts", "single", "joint", "classes")]
    return from_matrix(*given), tables


def looked_up(tables, stage: str, after: int, task: int) -> float | None:
    if stage in ("zero", "single"):
        return tables[stage][task]
    return tables[stage][after][task]


def listed(metric, tasks: int) -> set[tuple[str, int, int]]:
    """Every cell that the metric says it reads."""
    own = {("learn" if after >= 0 else "zero", after, task) for after, task in metric.cells(tasks)}
    return own | set(metric.references(tasks))


def values(table) -> dict[str, float | None]:
    return {name: metric.value for name, metric in measure(from_matrix(table[1:], table[0])).items()}


@settings(deadline=None)
@given(square(score))
def test_forgetting_is_at_least_minus_backward_transfer(table):
    got = values(table)
    assert got["forgetting"] >= -got["backward_transfer"] - 1e-12


@settings(deadline=None)
@given(whole(st.none() | score))
def test_forgetting_from_the_first_score_is_minus_backward_transfer_exactly(made):
    got = measure(made[0])
    forgot, transfer = got["forgetting_from_first"], got["backward_transfer"]
    assert forgot.missing == transfer.missing
    assert forgot.value == (None if transfer.value is None else -transfer.value)


@settings(deadline=None)
@given(whole(st.none() | score))
def test_forgetting_with_the_last_row_is_at_least_forgetting_without_it_and_never_negative(made):
    got = measure(made[0])
    without, with_last = got["forgetting"].value, got["forgetting_with_last"].value
    assert (without is None) == (with_last is None)
    assert without is None or with_last >= max(without, 0)


@settings(deadline=None)
@given(whole(st.none() | score))
def test_backward_transfer_over_tasks_is_its_share_of_backward_transfer(made):
    got, tasks = measure(made[0]), len(made[0].tasks)
    over, transfer = got["backward_transfer_over_tasks"].value, got["backward_transfer"].value
    assert over == (None if transfer is None else pytest.approx(transfer * (tasks - 1) / tasks, abs=1e-15))


@settings(deadline=None)
@given(whole(st.none() | score))
def test_backward_transfer_over_all_pairs_is_gain_or_loss_and_never_both(made):
    got = measure(made[0])
    transfer, gain = got["backward_transfer_all_pairs"].value, got["positive_backward_transfer"].value
    assert (transfer is None) == (gain is None)
    if transfer is not None:
        assert gain + got["remembering"].value - 1 == pytest.approx(transfer, abs=1e-12)
        assert gain == 0 or got["remembering"].value == 1


@settings(deadline=None)
@given(square(score))
def test_accuracy_is_learning_accuracy_plus_backward_transfer_over_all_tasks(table):
    got = values(table)
    assert got["average_accuracy"] == pytest.approx(got["learning_accuracy"] + got["backward_transfer_over_tasks"])


@settings(deadline=None)
@given(whole(score), st.integers(1, 1000))
def test_with_equal_test_rows_micro_is_macro(made, count):
    tables = made[1] | {"counts": [count] * len(made[1]["learn"])}
    got = measure(from_matrix(tables["learn"], counts=tables["counts"]))
    assert got["micro_average_accuracy"].value == pytest.approx(got["average_accuracy"].value)
    micro, macro = (got[f"average_incremental_accuracy_{kind}"].value for kind in ("micro", "macro"))
    assert micro == pytest.approx(macro)


@settings(deadline=None)
@given(whole(score), st.integers(2, 50))
def test_with_equal_classes_the_mean_over_classes_is_macro(made, count):
    got = measure(from_matrix(made[1]["learn"], classes=[count] * len(made[1]["learn"])))
    by_class, macro = got["average_mean_class_accuracy"], got["average_incremental_accuracy_macro"]
    assert by_class.value == pytest.approx(macro.value)


@settings(deadline=None)
@given(st.lists(score, min_size=2, max_size=6), st.data())
def test_isolated_modules_forget_exactly_nothing(column, data):
    counts = data.draw(st.lists(st.integers(1, 1000), min_size=len(column), max_size=len(column)))
    rows = [column[: row + 1] for row in range(len(column))]
    got = measure(from_matrix(rows, counts=counts, single=column))
    dialects = [name for name in got if "backward_transfer" in name or name.startswith("forgetting")]
    assert len(dialects) == 8
    for name in ("forward_transfer_over_single", *dialects):
        assert got[name].value == (0 if name != "forgetting_rate" else None), name
    assert got["remembering"].value == 1
    assert got["average_accuracy"].value == got["learning_accuracy"].value == got["worst_case_accuracy"].value
    assert got["minimum_accuracy"].value == got["stability"].value


@settings(deadline=None)
@given(whole(score))
def test_a_joint_model_has_no_rectified_forgetting_and_no_intransigence_and_loses_no_share(made):
    _, tables = made
    rows, zero = tables["joint"], [0.0] * len(tables["zero"])
    got = measure(from_matrix(rows, zero, joint=rows))
    assert got["rectified_forgetting"].value == got["intransigence"].value == 0
    assert got["forgetting_rate"].value == (0 if max(rows[-1]) > 1e-9 else None)


@settings(deadline=None)
@given(st.lists(score, min_size=2, max_size=6))
def test_a_bare_encoder_that_is_never_beaten_before_learning_gives_no_forward_transfer(zero):
    assert measure(from_matrix([zero] * len(zero), zero))["forward_transfer"].value == 0


@settings(deadline=None)
@given(whole(st.none() | score))
def test_missing_cells_are_those_of_the_formula_without_a_score(made):
    ledger, tables = made
    got = measure(ledger)
    for name, metric in metrics().items():
        lacking = [cell for cell in listed(metric, len(ledger.tasks)) if looked_up(tables, *cell) is None]
        assert got[name].missing == len(lacking), name


@settings(deadline=None, max_examples=40)
@given(whole(st.none() | score))
def test_a_cell_the_formula_does_not_list_changes_nothing(drawn):
    ledger, _ = drawn
    got, tasks = measure(ledger), len(ledger.tasks)
    for name, metric in metrics().items():
        keep = listed(metric, tasks)
        kept = Ledger(ledger.tasks)
        kept.add(cell for cell in ledger.cells if (cell.stage, cell.after, cell.task) in keep)
        assert metric.measure(kept) == got[name], name


def test_every_cell_that_the_formula_lists_can_change_it():
    """Else it would be counted as missing for nothing."""
    rng = np.random.default_rng(0)
    ledgers = [from_matrix(*draw(rng, tasks=4)) for _ in range(30)]
    values = [{name: metric.value for name, metric in measure(ledger).items()} for ledger in ledgers]
    for name, metric in metrics().items():
        for cell in listed(metric, 4):
            pairs = zip(ledgers, values, strict=True)
            assert any(metric.measure(without(ledger, cell)).value != value[name] for ledger, value in pairs), name


def draw(rng: np.random.Generator, tasks: int):
    """Rows, row "zero", counts, models alone, joint models, classes."""
    rows, joint = rng.random((2, tasks, tasks)).tolist()
    zero, single = rng.random((2, tasks)).tolist()
    counts, classes = (rng.integers(2, most, tasks).tolist() for most in (1000, 50))
    return rows, zero, counts, single, joint, classes


def without(ledger: Ledger, chosen: tuple[str, int, int]) -> Ledger:
    kept = Ledger(ledger.tasks)
    kept.add(cell for cell in ledger.cells if (cell.stage, cell.after, cell.task) != chosen)
    return kept


@settings(deadline=None)
@given(whole(st.none() | score))
def test_measuring_twice_gives_the_same_and_leaves_the_ledger_as_it_was(drawn):
    ledger, _ = drawn
    before = list(ledger.cells)
    assert measure(ledger) == measure(ledger)
    assert ledger.cells == before


@settings(deadline=None)
@given(whole(score))
def test_values_stay_in_the_range_of_scores_or_of_their_differences(drawn):
    for name, metric in measure(drawn[0]).items():
        if name != "forgetting_rate":  # a share of what the joint model gains, which may be next to nothing
            low = 0 if "accuracy" in name or name in ("stability", "plasticity", "remembering") else -1
            assert low - 1e-12 <= metric.value <= 1 + 1e-12, name
