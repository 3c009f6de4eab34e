"""Runs by what was tried: which belong together, what tells the others apart, and when an interval can be had."""

from __future__ import annotations

from itertools import permutations

import pytest

from continual.report.dashboard import keys
from continual.report.draw import Figure
from continual.report.figures import OVERVIEW
from continual.report.pareto import front, pareto
from continual.report.setups import setups, streams
from continual.report.spread import sensitivity, transfers

from .sample import FOUR, HOSTILE, drawn, record
from .test_figures import checked

TAKEN = [("x (2)", "task"), ("x", "task"), ("x", "domain")]
ORDERS = list(permutations(FOUR))[:3]


def config(**choices: object) -> dict[str, object]:
    return {"config": {"choices": {"seed": 5, "stream": "of its own", **choices}}}


def test_runs_that_differ_in_seed_and_order_only_are_one_setup() -> None:
    runs = [drawn(seed, order, **config(rank=8)) for seed in (0, 1) for order in ORDERS]
    [found] = setups(runs)
    assert found.name == "isolated · lora"
    assert len(found.values("average_accuracy")) == 6


def test_setups_of_one_strategy_and_method_are_named_by_the_choices_that_differ() -> None:
    runs = [drawn(0, **config(method=["lora", {"rank": rank, "alpha": 16}])) for rank in (4, 8)]
    runs.append(drawn(0, strategy="replay"))
    assert [setup.name for setup in setups(runs)] == [
        "isolated · lora, rank=4",
        "isolated · lora, rank=8",
        "replay · lora",
    ]


def test_a_stream_is_its_tasks_in_any_order_and_one_of_other_rows_is_another() -> None:
    other = record().model_copy(update={"tasks": [t.model_copy(update={"digest": "f" * 64}) for t in record().tasks]})
    found = streams([drawn(0), drawn(0, ORDERS[1]), other, record(("a", "b"), False)])
    assert [(name, len(runs)) for name, runs in found.items()] == [
        ("glue-four", 2),
        ("glue-four (2)", 1),
        ("glue-four (3)", 1),
    ]


def test_no_stream_takes_the_place_of_one_that_is_called_like_its_number() -> None:
    runs = [record().model_copy(update={"stream": name, "scenario": kind}) for name, kind in TAKEN]
    assert [len(own) for own in streams(runs).values()] == [1, 1, 1]
    assert len(set(keys([run.model_copy(update={"id": run.stream}) for run in runs]))) == 3


def test_no_run_is_unbeaten_that_another_beats_in_score_and_cost() -> None:
    assert front([(2, 0.5), (1, 0.5), (3, 0.6), (4, 0.55)]) == [(1, 0.5), (3, 0.6)]


def test_score_against_cost_has_each_run_once_in_each_panel_and_in_the_table() -> None:
    shown = pareto(setups([drawn(seed, strategy=name) for seed in range(2) for name in ("isolated", "replay")]))
    assert isinstance(shown, Figure)
    dots = [trace for trace in shown.data if trace["mode"] == "markers"]
    assert sorted({trace["xaxis"] for trace in dots}) == ["x", "x2", "x3"]
    assert [sum(len(t["x"]) for t in dots if t["xaxis"] == axis) for axis in ("x", "x2", "x3")] == [4, 4, 4]
    run = drawn(0)
    row = next(row for row in shown.rows if row[1] == run.id)
    assert row[4:6] == (sum(m.trainable for m in run.modules), sum(m.bytes for m in run.modules))


def test_bars_of_transfer_have_the_interval_over_seeds_and_orders() -> None:
    shown = transfers(setups([drawn(seed, order) for seed in range(2) for order in ORDERS]))
    assert isinstance(shown, Figure)
    row = next(row for row in shown.rows if row[1] == "forward_transfer")
    _, _, runs, mean, low, high, least, most = row
    assert runs == 6
    assert float(low or 0) < float(least or 0) < float(mean or 0) < float(most or 0) < float(high or 0)
    assert shown.data[0]["error_y"]["array"][2] == pytest.approx(float(high or 0) - float(mean or 0), abs=2e-3)


def test_sensitivity_has_a_dot_a_run_and_needs_two_that_differ_in_seed_or_order() -> None:
    shown = sensitivity(setups([drawn(seed, order) for seed in range(2) for order in ORDERS]))
    assert isinstance(shown, Figure)
    assert len([trace for trace in shown.data if trace["xaxis"] == "x"]) == len(ORDERS)
    assert sum(len(trace["x"]) for trace in shown.data) == 6 * 3
    assert "two runs" in str(sensitivity(setups([drawn(0), drawn(0, strategy="replay")])))


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [record(("a",), False)],
        [drawn(seed, order) for seed in range(2) for order in ORDERS],
        [drawn(0, strategy=HOSTILE, method="%{x}", **config(rank=HOSTILE)), drawn(1, strategy=HOSTILE, method="%{x}")],
        [record().model_copy(update={"metrics": {}, "modules": []})],
    ],
)
def test_every_figure_over_runs_is_drawn_or_says_why_not_and_has_no_name_as_html(runs) -> None:
    for panel in OVERVIEW.values():
        shown = checked(panel.draw(setups(runs)))
        assert "<script" not in (shown if isinstance(shown, str) else str((shown.data, shown.layout)))
