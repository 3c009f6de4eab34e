"""The page of the methods' numbers is what its records say, and the records are whole."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "methods"
RECORDS = sorted((HERE / "records").glob("*.json"))


@pytest.fixture(scope="module")
def folder():
    """Its scripts import each other by their bare names."""
    sys.path.insert(0, str(HERE))
    names = {path.stem for path in HERE.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    yield importlib.import_module
    sys.path.remove(str(HERE))
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def test_the_page_is_generated_from_the_records(folder) -> None:
    assert (HERE / "RESULTS.md").read_text(encoding="utf-8") == folder("report").render(HERE / "records")


@pytest.mark.parametrize("path", [p for p in RECORDS if p.stem.startswith("quality-")], ids=lambda path: path.stem)
def test_a_record_of_learning_has_every_task_and_seed_once(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    seeds = record["setting"]["seeds"]
    for name, key in (("default", "modules"), ("forgetting", "pairs")):
        cells = [(one["task"], one["seed"]) for one in record["rows"][name][key]]
        assert len(set(cells)) == len(cells) == 4 * len(seeds)


@pytest.mark.parametrize("path", [p for p in RECORDS if p.stem.startswith("cost-")], ids=lambda path: path.stem)
def test_what_is_timed_has_as_many_repeats_as_its_reference(path: Path) -> None:
    for entry in json.loads(path.read_text(encoding="utf-8"))["rows"].values():
        for times in (entry.get("step", {}), *entry.get("latency", {}).values(), *entry.get("merged", {}).values()):
            assert len({len(seconds) for seconds in times.values()}) <= 1
            assert all(len(seconds) >= 5 for seconds in times.values())


def test_there_is_a_row_for_every_method_of_the_package(folder) -> None:
    from continual import folder as registry
    from continual.method import name_of

    rows = folder("rows").ROWS
    assert {name_of(row.method) for row in rows.values()} == set(registry.names("continual.method"))
    assert {*rows, "lora merged"} == set(folder("report").ORDER)


def test_a_value_is_judged_by_the_claim_of_its_family(folder) -> None:
    claims = folder("claims")
    assert claims.verdict("houlsby", "latency", 4.0) == "holds"
    assert claims.verdict("prompt", "trainable", 0.2) == "above"
    assert claims.verdict("bitfit", "accuracy", 89.0) == "below"
    assert claims.verdict("head", "accuracy", 89.0) == ""
