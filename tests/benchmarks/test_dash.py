"""The record of the page of many runs keeps its promise, and is of the page that is meant."""

from __future__ import annotations

import json
from pathlib import Path

RECORD = Path(__file__).resolve().parents[2] / "benchmarks" / "dash" / "records" / "cpu.json"


def test_a_hundred_runs_of_fifteen_tasks_were_open_in_under_three_seconds() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert (record["runs"], record["tasks"]) == (100, 15)
    assert record["times"] >= 5
    assert record["loaded"]["median"] <= record["drawn"]["median"] < 3
