"""The page of numbers is what its records say, and the records keep the promises that they were made for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from continual.report.record import load

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "quickstart"


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("quickstart_report", HERE / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_generated_from_the_records(report) -> None:
    assert (HERE / "RESULTS.md").read_text(encoding="utf-8") == report.render(HERE / "records")


@pytest.mark.parametrize("path", sorted((HERE / "records").glob("*-s?.json")), ids=lambda path: path.stem)
def test_a_record_is_whole_and_says_nothing_of_the_machine(path: Path) -> None:
    record = load(path)
    assert record.status == "finished"
    assert record.encoder_unchanged
    assert record.modules_unchanged
    assert str(record.seed) == path.stem[-1]
    assert not Path(record.config["paths"]["runs"]).is_absolute()


def test_isolated_tasks_keep_every_answer(report) -> None:
    for record in report.read(HERE / "records", "isolated"):
        assert set(report.drifts(record)) == {0.0}
        assert not any(cell.reused for cell in record.cells)
