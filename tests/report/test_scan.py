"""A folder of runs as it is found in life: whole, half-written, foreign, older and hostile files side by side."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from continual.errors import ContinualError
from continual.report.record import save
from continual.report.scan import one, scan

from .sample import HOSTILE, record


def put(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True)
    save(record().model_copy(update=changes), folder / "run.json")
    return folder


def test_runs_come_by_date_whatever_their_folders_are_called(tmp_path):
    put(tmp_path / "b", id="first", created="2026-11-01T00:00:00+00:00")
    put(tmp_path / "a", id="second", created="2026-11-02T00:00:00+00:00")
    assert [run.record.id for run in scan([tmp_path]).runs] == ["first", "second"]


def test_a_run_that_two_places_lead_to_is_there_once(tmp_path):
    folder = put(tmp_path / "a")
    assert len(scan([tmp_path, folder, folder / "run.json"]).runs) == 1


def test_records_side_by_side_are_found_too(tmp_path):
    save(record(), tmp_path / "one.json")
    save(record(), tmp_path / "two.json")
    assert len(scan([tmp_path]).runs) == 2


def bad(folder: Path) -> dict[str, str]:
    """{folder: what the reason must say}; each is made here."""
    whole = json.loads((put(folder / "whole") / "run.json").read_text())
    texts = {
        "torn": (json.dumps(whole)[:500], "is not a run record"),
        "older": (json.dumps({**whole, "schema_version": 0, "cells": None}), "schema_version"),
        "foreign": ('{"accuracy": 0.9}', "is not a run record"),
        "nan": (json.dumps(whole).replace('"seconds": 83.4', '"seconds": NaN'), "seconds"),
        "deep": ("[" * 200_000, "is not a run record"),
        "binary": ("\x00\x01", "is not a run record"),
        HOSTILE.replace("/", "_"): ("{", "is not a run record"),
    }
    for name, (text, _) in texts.items():
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(text)
    (folder / "begun").mkdir()
    (folder / "begun" / "ledger.jsonl").write_text("")
    (folder / "started").mkdir()
    save(record().model_copy(update={"status": "begun"}), folder / "started" / "begun.json")
    put(folder / "not-yet", status="begun")
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "folder").mkdir()
    (folder / "folder" / "run.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / ".hydra").mkdir()
    (folder / "mlruns").mkdir()
    said = {name: says for name, (_, says) in texts.items()}
    said |= {"started": "not finished", "not-yet": "not finished"}
    return said | {"begun": "not finished", "empty": "no run", "folder": "no record", "pipe.json": "no record"}


def test_what_is_no_record_is_skipped_with_the_reason_and_the_others_are_read(tmp_path):
    expected = bad(tmp_path)
    found = scan([tmp_path])
    assert [run.path.parent.name for run in found.runs] == ["whole"]
    said = {skipped.path.relative_to(tmp_path).parts[0]: skipped.why for skipped in found.skipped}
    assert said.keys() == expected.keys()
    assert all(expected[name] in said[name] and "\n" not in said[name] for name in expected)


def test_a_folder_without_runs_is_no_error_and_a_place_that_is_not_there_is_one(tmp_path):
    assert scan([tmp_path]).runs == ()
    with pytest.raises(ContinualError, match="does not exist"):
        scan([tmp_path / "nowhere"])


def test_a_run_that_has_only_begun_is_no_run_by_its_own_folder_either(tmp_path):
    save(record().model_copy(update={"status": "begun"}), tmp_path / "begun.json")
    for place in (tmp_path, tmp_path / "begun.json"):
        found = scan([place])
        assert found.runs == ()
        assert "not finished" in found.skipped[0].why


def test_one_run_is_its_folder_or_its_file(tmp_path):
    folder = put(tmp_path / "a")
    assert one(folder) == one(folder / "run.json") == record()
    with pytest.raises(ContinualError, match="does not exist"):
        one(tmp_path / "b")
    (folder / "run.json").rename(folder / "begun.json")
    with pytest.raises(ContinualError, match="a is not finished: the same command goes on with it"):
        one(folder)
