"""Figures carry the record's numbers, drawn and as a table; where there are none, a sentence."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go
import pytest

from continual.report.draw import Figure, Shown
from continual.report.figures import FIGURES
from continual.report.matrix import curves, matrix
from continual.report.record import Record
from continual.report.transfer import graph, transfer

from .sample import FIFTEEN, FOUR, HOSTILE, record, routed

ALL = [routed(record()), record(FIFTEEN), record(("a",)), record(compositions=False), record(diverged=1, missing=True)]


def drawn(name: str, run: Record) -> Figure:
    figure = FIGURES[name].draw(run)
    assert isinstance(figure, Figure)
    return figure


def checked(shown: Shown) -> Shown:
    """Plotly knows all that is in the figure; so does JSON; the table is rectangular."""
    if isinstance(shown, Figure):
        go.Figure(shown.data, shown.layout)
        json.dumps(shown.island(), allow_nan=False)
        assert {len(row) for row in shown.rows} == {len(shown.columns)}
        assert shown.data
    else:
        assert shown.endswith(".")
    return shown


@pytest.mark.parametrize("run", ALL)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_or_says_in_a_sentence_why_not(name: str, run: Record) -> None:
    assert checked(FIGURES[name].draw(run)) == FIGURES[name].draw(run)


def test_a_run_of_everything_has_every_figure() -> None:
    assert [name for name in FIGURES if isinstance(FIGURES[name].draw(routed(record())), str)] == []


def test_matrix_keeps_own_and_nearest_class_mean_cells_apart() -> None:
    own, ncm = drawn("matrix", record()).data
    assert [sum(value is not None for value in row) for row in own["z"]] == [0, 1, 2, 3, 4]
    assert [sum(value is not None for value in row) for row in ncm["z"]] == [4, 3, 2, 1, 0]
    assert own["text"][1][0] == "92.1"
    assert ncm["text"][0][0] == "~53.4"
    assert own["colorscale"] != ncm["colorscale"]


def test_matrix_marks_each_missing_cell() -> None:
    shown = drawn("matrix", record(missing=True))
    assert [note["text"] for note in shown.layout["annotations"]] == ["–"] * 8
    assert len(shown.rows) == 20 - 8


def test_the_table_of_a_matrix_has_each_cell_with_its_interval() -> None:
    run, shown = record(), matrix(record())
    assert isinstance(shown, Figure)
    cell = next(cell for cell in run.cells if (cell.after, cell.task) == (2, 0))
    row = next(row for row in shown.rows if row[:2] == ("after sst2", "rte"))
    assert row[2:5] == pytest.approx([100 * (value or 0) for value in (cell.score, cell.low, cell.high)], abs=1e-3)
    assert row[5:] == (277, "own")


def test_curves_carry_the_intervals_of_the_cells() -> None:
    run = record()
    line = drawn("curves", run).data[0]
    cell = next(cell for cell in run.cells if cell.stage == "learn" and cell.after == 0 and cell.task == 0)
    assert cell.score
    assert cell.high
    assert cell.low
    assert line["y"][1] == pytest.approx(100 * cell.score, abs=1e-3)
    assert line["y"][1] + line["error_y"]["array"][1] == pytest.approx(100 * cell.high, abs=2e-3)
    assert line["y"][1] - line["error_y"]["arrayminus"][1] == pytest.approx(100 * cell.low, abs=2e-3)
    assert line["marker"]["symbol"][0].endswith("-open")
    assert not line["marker"]["symbol"][1].endswith("-open")


def test_transfer_per_task_averages_to_the_metrics() -> None:
    run = record()
    pairs = zip(drawn("transfer", run).data, ("backward_transfer", "forward_transfer"), strict=True)
    for bars, name in pairs:
        values = [value for value in bars["y"] if value is not None]
        assert sum(values) / len(values) == pytest.approx(100 * (run.metrics[name].value or 0), abs=1e-3)


def test_the_transfer_graph_has_the_change_of_every_pair_and_arrows_for_those_that_changed() -> None:
    run = record()
    shown = drawn("graph", run)
    score = {(cell.after, cell.task): cell.score or 0 for cell in run.cells if cell.stage in ("zero", "learn")}
    changes = {(FOUR[i], FOUR[j]): 100 * (score[i, j] - score[i - 1, j]) for i in range(4) for j in range(4) if i != j}
    assert {row[:2]: row[2] for row in shown.rows} == pytest.approx(changes, abs=1e-3)
    arrows = [note for note in shown.layout["annotations"] if "arrowcolor" in note]
    assert len(arrows) == sum(abs(change) >= 0.1 for change in changes.values())
    helps = [note for note in arrows if note["arrowcolor"] == "#0072B2"]
    assert len(helps) == sum(change >= 0.1 for change in changes.values())
    assert arrows[-1]["arrowwidth"] == max(note["arrowwidth"] for note in arrows)


def test_a_change_from_nearest_class_mean_to_an_own_module_is_no_transfer() -> None:
    run = record(("a", "b"))
    odd = [cell.model_copy(update={"how": "own"}) if (cell.after, cell.task) == (0, 1) else cell for cell in run.cells]
    shown = graph(run.model_copy(update={"cells": odd}))
    assert isinstance(shown, str) or ("a", "b") not in [row[:2] for row in shown.rows]


def test_no_arrow_where_nothing_changed() -> None:
    run = record()
    flat = [cell.model_copy(update={"score": 0.5}) for cell in run.cells]
    assert "changed no score" in str(graph(run.model_copy(update={"cells": flat})))


def test_attention_has_a_row_for_each_layer_and_a_column_for_each_module() -> None:
    (heat,) = drawn("attention", record()).data
    assert (len(heat["z"]), len(heat["z"][0])) == (6, 4)
    assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in heat["z"])


def test_compositions_of_one_kind_are_drawn_one_under_the_other() -> None:
    run = record()
    twice = [w.model_copy(update={"composition": name}) for name in ("one", "two") for w in run.weights]
    shown = drawn("attention", run.model_copy(update={"weights": twice}))
    checked(shown)
    assert [note["text"] for note in shown.layout["annotations"]] == ["one", "two"]
    assert shown.layout["yaxis"]["domain"][0] > shown.layout["yaxis2"]["domain"][1]
    assert [trace["yaxis"] for trace in shown.data] == ["y", "y2"]


def test_gates_name_the_site_where_a_module_has_several() -> None:
    axis = drawn("gates", record()).layout["xaxis"]
    assert axis["ticktext"] == ["lora<br>query", "lora<br>value", "adapter<br>ffn_norm"]


def test_gains_over_module_and_head_have_their_intervals_in_points() -> None:
    single, head = drawn("gains", record()).data
    assert single["x"][0] == pytest.approx(2.2)
    assert single["x"][0] - single["error_x"]["arrayminus"][0] == pytest.approx(-0.4)
    assert head["x"][0] + head["error_x"]["array"][0] == pytest.approx(28)


def test_router_confusion_is_in_percent_of_each_tasks_rows() -> None:
    shown = drawn("confusion", routed(record()))
    assert shown.data[0]["z"][1] == [0, 90, 10, 0]
    assert ("mrpc", "sst2", 10, 10.0) in shown.rows
    assert "no router" in str(FIGURES["confusion"].draw(record()))


def test_costs_show_every_module() -> None:
    run = record()
    assert drawn("costs", run).data[0]["x"] == [module.trainable for module in run.modules]


def test_names_reach_plotly_with_tags_entities_and_templates_made_harmless() -> None:
    run = routed(record((HOSTILE, "<b>bold</b>", "%{x}", "&lt;")))
    for name in FIGURES:
        shown: Any = drawn(name, run)
        read = str((shown.data, shown.layout))  # what plotly would read as HTML, our own templates among it
        assert "<script" not in read
        assert "<b>" not in read
        assert "%{x}'" not in read
        assert "'&lt;'" not in read


def test_long_names_are_cut_on_axes_and_whole_in_the_hover_text_and_in_the_table() -> None:
    name = "a task with a very long name indeed"
    shown = drawn("matrix", record((name, "b")))
    assert name in shown.data[0]["hovertext"][1][0]
    assert name in shown.rows[0]
    assert shown.layout["xaxis"]["ticktext"][0].endswith("…")


def test_a_record_without_scores_or_modules_has_no_figure_at_all() -> None:
    nothing = record(FOUR, compositions=False).model_copy(update={"cells": [], "modules": []})
    assert all(isinstance(panel.draw(nothing), str) for panel in FIGURES.values())


def test_one_moment_is_no_curve_and_one_task_has_no_transfer() -> None:
    run = record(("a",))
    only = [cell for cell in run.cells if cell.after == 0]
    assert "two moments" in str(curves(run.model_copy(update={"cells": only})))
    assert "one" in str(transfer(run))
