"""Figures carry the record's numbers; where there are none, a sentence."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from continual.report.figures import FIGURES, attention, costs, curves, gains, gates, matrix, transfer

from .sample import FIFTEEN, FOUR, HOSTILE, record

ALL = [record(), record(FIFTEEN), record(("a",)), record(compositions=False), record(diverged=1, missing=True)]


def texts(figure: go.Figure) -> str:
    """What plotly would read as HTML: all strings but the templates and colours we wrote ourselves."""
    return str(figure.to_dict())


@pytest.mark.parametrize("run", ALL)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_or_says_in_a_sentence_why_not(name, run):
    shown = FIGURES[name](run)
    if isinstance(shown, str):
        assert shown.endswith(".")
    else:
        assert shown.data
        assert shown.to_json() == FIGURES[name](run).to_json()


def test_matrix_keeps_own_and_nearest_class_mean_cells_apart():
    own, ncm = matrix(record()).data
    assert [sum(value is not None for value in row) for row in own.z] == [0, 1, 2, 3, 4]
    assert [sum(value is not None for value in row) for row in ncm.z] == [4, 3, 2, 1, 0]
    assert own.text[1][0] == "92.1"
    assert ncm.text[0][0] == "~53.4"
    assert own.colorscale != ncm.colorscale


def test_matrix_marks_each_missing_cell():
    shown = matrix(record(missing=True))
    assert [note.text for note in shown.layout.annotations] == ["–"] * 8


def test_curves_carry_the_intervals_of_the_cells():
    run = record()
    line = curves(run).data[0]
    cell = next(cell for cell in run.cells if cell.stage == "learn" and cell.after == 0 and cell.task == 0)
    assert line.y[1] == pytest.approx(100 * cell.score)
    assert line.y[1] + line.error_y.array[1] == pytest.approx(100 * cell.high)
    assert line.y[1] - line.error_y.arrayminus[1] == pytest.approx(100 * cell.low)
    assert line.marker.symbol[0].endswith("-open")
    assert not line.marker.symbol[1].endswith("-open")


def test_transfer_per_task_averages_to_the_metrics():
    run = record()
    for bars, name in zip(transfer(run).data, ("backward_transfer", "forward_transfer"), strict=True):
        values = [value for value in bars.y if value is not None]
        assert sum(values) / len(values) == pytest.approx(100 * run.metrics[name].value)


def test_attention_has_a_row_for_each_layer_and_a_column_for_each_module():
    (heat,) = attention(record()).data
    assert (len(heat.z), len(heat.z[0])) == (6, 4)
    assert all(sum(row) == pytest.approx(1) for row in heat.z)


def test_compositions_of_one_kind_are_drawn_one_under_the_other():
    run = record()
    twice = [w.model_copy(update={"composition": name}) for name in ("one", "two") for w in run.weights]
    shown = attention(run.model_copy(update={"weights": twice}))
    assert len(shown.data) == 2
    assert [note.text for note in shown.layout.annotations] == ["one", "two"]


def test_gates_name_the_site_where_a_module_has_several():
    assert gates(record()).layout.xaxis.ticktext == ("lora<br>query", "lora<br>value", "adapter<br>ffn_norm")


def test_gains_over_module_and_head_have_their_intervals_in_points():
    single, head = gains(record()).data
    assert single.x[0] == pytest.approx(2.2)
    assert single.x[0] - single.error_x.arrayminus[0] == pytest.approx(-0.4)
    assert head.x[0] + head.error_x.array[0] == pytest.approx(28)


def test_costs_show_every_module():
    run = record()
    assert costs(run).data[0].x == tuple(module.trainable for module in run.modules)


def test_names_reach_plotly_with_tags_entities_and_templates_made_harmless():
    run = record((HOSTILE, "<b>bold</b>", "%{x}", "&lt;"))
    for figure in FIGURES.values():
        shown = texts(figure(run))
        assert "<script" not in shown
        assert "<b>" not in shown
        assert "%{x}'" not in shown
        assert "'&lt;'" not in shown


def test_long_names_are_cut_on_axes_and_whole_in_the_hover_text():
    name = "a task with a very long name indeed"
    own = matrix(record((name, "b"))).data[0]
    assert name in own.hovertext[1][0]
    assert matrix(record((name, "b"))).layout.xaxis.ticktext[0].endswith("…")


def test_a_record_without_scores_or_modules_has_no_figure_at_all():
    nothing = record(FOUR, compositions=False).model_copy(update={"cells": [], "modules": []})
    assert all(isinstance(figure(nothing), str) for figure in FIGURES.values())
