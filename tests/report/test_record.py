"""run.json: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from continual.errors import CorruptError
from continual.report.record import load, save

from .sample import HOSTILE, record, routed


@pytest.mark.parametrize("run", [record(), record(diverged=1), record(("a",)), record((HOSTILE, "b\u2028"))])
def test_a_saved_record_loads_equal(run, tmp_path):
    save(run, tmp_path / "run.json")
    assert load(tmp_path / "run.json") == run


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: json.dumps(json.loads(text) | {"surprise": 1}),
        lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "cells"}),
        lambda text: "[]",
    ],
    ids=["torn", "unknown field", "field missing", "not a record"],
)
def test_a_damaged_record_is_refused_by_name(damage, tmp_path):
    path = tmp_path / "run.json"
    save(record(), path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(CorruptError, match=r"run\.json"):
        load(path)


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        (("cells", 0, "task"), 4, "there are 4 tasks"),
        (("cells", 0, "after"), -2, "there are 4 tasks"),
        (("routing", "rows", 0, "after"), -1, "there are 4 tasks"),
        (("routing", "tasks", 0), 4, "there are 4 tasks"),
        (("routing", "confusion"), [[1, 2], [3, 4]], "a row and a column"),
        (("routing", "confusion", 1), [1, 2], "a row and a column"),
        (("weights", 0, "mean"), [1.0], "a mean for each member"),
        (("config", "rate"), float("nan"), "JSON"),
        (("cells", 0, "score"), 1e300, "less than"),
        (("metrics", "forgetting", "value"), -1e300, "greater than"),
        (("modules", 0, "bytes"), 10**400, "less than"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused_and_it_is_said_where(where, value, says, tmp_path):
    facts = routed(record()).model_dump(mode="json")
    inner = facts
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value
    (tmp_path / "run.json").write_text(json.dumps(facts))
    with pytest.raises(CorruptError, match=says):
        load(tmp_path / "run.json")


def test_a_record_of_before_there_were_routers_certificates_and_confusions_loads(tmp_path):
    facts = routed(record()).model_dump(mode="json")
    del facts["routing"]["confusion"], facts["certificate"], facts["scenario"]
    (tmp_path / "run.json").write_text(json.dumps(facts))
    assert load(tmp_path / "run.json").routing.confusion == []


def test_a_record_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(CorruptError, match=r"run\.json"):
        load(tmp_path / "run.json")


def test_a_record_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        record().seed = 1


def test_reading_records_needs_neither_plotly_nor_torch():
    code = "import sys, continual.report.record, continual.report.table; print({'plotly', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
