"""A run that is not finished, as whoever watches it sees it: what it has so far, and nothing of it is touched."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from continual.errors import CorruptError
from continual.files import append_line
from continual.report.going import going
from continual.report.record import save

from .sample import FOUR, cell, module, record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two of four tasks are learned."""
    nothing = {"status": "begun", "cells": [], "metrics": {}, "modules": [], "gains": [], "weights": []}
    save(record().model_copy(update=nothing), tmp_path / "begun.json")
    for after in (-1, 0, 1):
        append_line(tmp_path / "ledger.jsonl", [asdict(cell(after, task, None)) for task in range(4)])
    for number in (0, 1):
        entry = {"key": f"learn/{number}", "module": module(FOUR[number], number, False).model_dump(mode="json")}
        append_line(tmp_path / "modules.jsonl", entry)
    return tmp_path


def test_it_has_the_rows_modules_and_metrics_so_far(folder: Path) -> None:
    run = going(folder)
    assert run.status == "begun"
    assert {cell.after for cell in run.cells} == {-1, 0, 1}
    assert [module.name for module in run.modules] == ["rte-lora", "mrpc-lora"]
    assert run.metrics["learning_accuracy"].value == pytest.approx((0.92 + 0.86) / 2, abs=0.01)


def test_before_the_first_row_it_has_none(folder: Path) -> None:
    for name in ("ledger.jsonl", "modules.jsonl"):
        (folder / name).unlink()
    assert going(folder).cells == []


def test_a_line_that_is_being_written_is_left_alone(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"value": [{"sta')
    assert {cell.after for cell in going(folder).cells} == {-1, 0, 1}
    assert path.read_bytes() == whole + b'{"value": [{"sta'


@pytest.mark.parametrize(
    "row",
    [[{"unknown": 1}], [asdict(cell(0, 0, None)) | {"task": 17}], [asdict(cell(0, 0, None)) | {"score": "much"}], 3],
)
def test_a_ledger_of_another_make_is_refused_by_name(row: object, folder: Path) -> None:
    append_line(folder / "ledger.jsonl", row)
    with pytest.raises(CorruptError, match="ledger"):
        going(folder)
