"""The end-of-run table, as a log file of 80 columns sees it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from continual.metric.base import metrics
from continual.report.dashboard import render
from continual.report.table import show

from .sample import FIFTEEN, HOSTILE, record


def printed(run, width: int = 80) -> str:
    file = io.StringIO()
    show(run, Console(file=file, width=width))
    return file.getvalue()


def line(text: str, start: str) -> list[str]:
    return next(row for row in text.splitlines() if row.startswith(start)).removeprefix(start).split()


def test_matrix_marks_cells_of_tasks_that_were_not_learned():
    text = printed(record())
    assert line(text, "before any") == ["~53.4", "~60.0", "~66.6", "~71.8"]
    assert line(text, "after mrpc") == ["92.1", "86.0", "~65.3", "~68.5"]
    assert "nearest class mean" in text


@pytest.mark.parametrize("run", [record(), record(FIFTEEN), record((HOSTILE, "x" * 120)), record(missing=True)])
def test_no_line_is_wider_than_the_console_and_nothing_is_coloured(run):
    text = printed(run)
    assert all(len(row.rstrip()) <= 80 for row in text.splitlines())
    assert "\x1b" not in text


def test_fifteen_tasks_become_numbered_columns_with_a_legend_and_every_score_is_there():
    text = printed(record(FIFTEEN))
    assert len([row for row in text.splitlines() if row.startswith("after 15")]) == 2
    assert "15\u00a0wic" in text
    assert "…" not in text
    blocks = [row.split()[2:] for row in text.splitlines() if row.startswith("after 15")]
    assert blocks[0] + blocks[1] == ["92.1", "86.0", "80.0", "74.0"] * 3 + ["92.1", "86.0", "80.0"]


def test_fifteen_tasks_keep_their_names_where_there_is_room():
    assert line(printed(record(FIFTEEN), width=200), "after wic")[-1] == "80.0"


def test_missing_cells_are_dashes_and_metrics_say_how_many_they_lacked():
    text = printed(record(missing=True))
    assert line(text, "after mrpc") == ["–", "–", "–", "–"]
    assert line(text, "Forward transfer") == ["–", "forward_transfer@1", "4", "cells", "missing"]
    assert line(text, "Learning accuracy")[-3:] == ["1", "cell", "missing"]


def test_five_metrics_are_printed_and_the_record_has_all():
    run = record()
    block = printed(run).split("Metrics, points\n")[1].split("\n\n")[0].splitlines()
    assert [row.split("  ")[0] for row in block] == [
        "Average accuracy",
        "Backward transfer",
        "Forgetting",
        "Forward transfer",
        "Learning accuracy",
    ]
    assert set(run.metrics) == set(metrics())


def test_undefined_metrics_of_one_task_are_dashes_without_missing_cells():
    text = printed(record(("rte",)))
    assert line(text, "Backward transfer") == ["–", "backward_transfer@1"]
    assert "Compositions" not in text


def test_gains_are_given_over_the_single_module_and_over_the_head_with_intervals():
    text = printed(record())
    assert line(text, "fusion on rte") == ["84.0", "+2.2", "(−0.4", "to", "+4.7)", "+22.0", "(+13.0", "to", "+28.0)"]


def test_a_diverged_task_is_said_above_the_scores_and_in_its_module_row():
    text = printed(record(diverged=1))
    assert "mrpc-lora diverged: the loss became NaN at step 12" in text
    assert line(text, "mrpc-lora  ")[-1] == "diverged"


def test_modules_show_trained_parameters_size_and_time():
    assert line(printed(record()), "rte-lora") == ["148,226", "596", "9.5", "90.0"]


def test_costs_stand_below_the_modules():
    assert "9,748 units evaluated · peak memory 812 MB" in printed(record())


def test_a_mean_over_several_scores_says_which():
    run = record()
    assert "means over" not in printed(run)
    tasks = [run.tasks[0].model_copy(update={"score": "entity_f1"}), *run.tasks[1:]]
    mixed = run.model_copy(update={"tasks": tasks})
    assert "Metrics, points: means over entity f1, accuracy" in printed(mixed)
    assert "Metrics are means over entity f1, accuracy." in render(mixed)


def test_changed_encoder_is_a_loud_line():
    run = record().model_copy(update={"encoder_unchanged": False})
    assert "the encoder changed during the run" in printed(run)


def test_names_are_text_neither_markup_nor_terminal_codes():
    text = printed(record(("[red]a[/red]", "b\x1b[31m")))
    assert "[red]a[/red]" in text
    assert "\x1b" not in text
