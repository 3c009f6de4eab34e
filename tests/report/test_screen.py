"""What goes into a file or a pipe has every name in one line, so that grep finds it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from continual.board.standings import open_board
from continual.board.table import show as show_board
from continual.outcomes import Outcomes
from continual.report import differences, screen, table
from continual.report.versus import Side, versus
from tests.board import made

from .sample import FIFTEEN, record

LONG = "a-name-that-is-longer-than-a-line-of-eighty-columns-" + "x" * 60


def test_a_run_in_a_file_breaks_no_name_and_keeps_its_matrix_narrow(capsys: pytest.CaptureFixture[str]) -> None:
    table.show(record((*FIFTEEN[:14], LONG)))
    lines = capsys.readouterr().out.splitlines()
    matrix = [line for line in lines if line.startswith(("before any ", "after "))]
    assert any(line.startswith(f"{LONG}-lora ") for line in lines)
    assert len(matrix) > 16  # more than one block
    assert all(len(line.rstrip()) <= 80 for line in matrix)


def test_a_comparison_in_a_file_breaks_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = record((LONG, "mrpc"))
    learned = [cell for cell in run.cells if cell.stage == "learn"]
    side = Side(run.model_copy(update={"cells": learned}), Outcomes(tmp_path))
    differences.show(versus(side, side))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(LONG) and "0.0" in line for line in lines)


def test_a_board_in_a_file_breaks_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = "r" * 64
    show_board(open_board(made.board(tmp_path, {"lora": {}, row: {"method": "bottleneck", "gain": -0.1}})))
    assert any(row in line and "to" in line.partition(row)[2] for line in capsys.readouterr().out.splitlines())


def test_a_terminal_is_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes rich take standard output for a terminal
    assert screen.room(screen.screen()) == 72
    assert screen.room(Console(file=io.StringIO(), width=55)) == 55
