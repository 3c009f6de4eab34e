"""The board's benchmark: its rules hold, its runs are made and taken in, its pages are what the records say."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from continual.board import page, rules
from continual.board.add import add
from continual.board.freeze import freeze
from continual.board.standings import open_board
from tests import running

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "board"
QUICKSTART = HERE / "quickstart"


@pytest.fixture(scope="module")
def scripts():
    """They import each other by their bare names."""
    names = {path.stem for path in HERE.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    paths = list(sys.path)
    sys.path.insert(0, str(HERE))
    yield importlib.import_module
    sys.path[:] = paths
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def test_the_board_is_sound_and_its_page_is_what_its_records_say() -> None:
    board = open_board(QUICKSTART)
    assert board.rejected == []
    assert (QUICKSTART / "LEADERBOARD.md").read_text(encoding="utf-8") == page.render(board)


def test_the_board_asks_three_seeds_with_three_orders_that_are_all_orders_of_the_same_tasks() -> None:
    asked = rules.load(QUICKSTART)
    assert len(asked.jobs) == 9
    assert len({order.digest for order in asked.orders}) == 3
    assert {tuple(sorted(order.tasks)) for order in asked.orders} == {tuple(sorted(asked.orders[0].tasks))}
    first, *others = (order.tasks for order in asked.orders)
    assert all(mine != theirs for other in others for mine, theirs in zip(first, other, strict=True))


def test_the_records_of_the_board_say_nothing_of_the_machine() -> None:
    for path in QUICKSTART.glob("records/*/*.json"):
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
        assert config["paths"] == {"runs": "runs", "store": "store"}
        assert (config["encoder"]["mirror"], config["stream"]["mirror"]) == (None, None)


@pytest.mark.real
def test_the_stream_and_the_encoder_are_those_of_the_rules() -> None:
    asked = rules.load(QUICKSTART)
    orders = "stream.names=" + ",".join(f"[{','.join(order.tasks)}]" for order in asked.orders)
    metric = asked.metric.partition("@")[0]
    assert freeze(asked.name, metric, asked.seeds, asked.experiment, orders, asked.asks) == asked


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a tiny board of one run a row."""
    place = tmp_path_factory.mktemp("board")
    encoder = running.saved_encoder(place / "encoder")
    shared = [override for override in running.OVERRIDES if not override.startswith("threads")]
    experiment = [*shared, "stream.count=2", "composition=[]", f"encoder.name={encoder}"]
    rules.save(freeze("tiny", "average_accuracy", [0], experiment), place / "tiny")
    return place


def test_the_runs_that_a_board_lacks_are_made_once_and_are_a_row_of_it(place, scripts, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PYTHONPATH", running.environment()["PYTHONPATH"])
    given = ["--board", place / "tiny", "--work", place / "work", "--rows", "isolated-lora", "--set", "threads=1"]
    monkeypatch.setattr("sys.argv", ["run.py", *map(str, given)])
    for lines in ("runs that are missing: 1\nisolated-lora-0-listed: finished\n", "runs that are missing: 0\n"):
        with pytest.raises(SystemExit) as ended:
            scripts("run").main()
        assert (capsys.readouterr().out, ended.value.code) == (lines, 0)
    added = add(place / "tiny", [place / "work" / "runs"])
    assert added.new == {"isolated-lora": 1}
    assert added.refused == []


def test_every_row_has_runs_that_compose(scripts) -> None:
    from hydra import compose, initialize_config_module

    rows, asked = scripts("rows"), rules.load(QUICKSTART)
    with initialize_config_module("continual.conf", version_base="1.3"):
        for name in rows.ROWS:
            config = compose("run", rows.overrides(asked, name, asked.jobs[-1]))
            strategy, method = (config[key]["_target_"].split(".")[-2] for key in ("strategy", "method"))
            assert (f"{strategy}-{method}", config["seed"]) == (name, 2)
            assert list(config["stream"]["names"]) == asked.orders[-1].tasks
            assert {key: asked.frozen[key] for key in asked.frozen if key == "composition"} == {"composition": {}}


def test_a_thousand_records_that_are_made_up_are_sound_and_are_timed(scripts, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["scan.py", "--rows", "2", "--repeat", "1", "--out", str(tmp_path / "scan.json")])
    scripts("scan").main()
    record = json.loads((tmp_path / "scan.json").read_text(encoding="utf-8"))
    assert record["records"] == 100
    assert len(record["seconds"]) == 1
    assert "100 records" in scripts("report").render(tmp_path)


def test_the_page_of_results_is_generated_from_its_record(scripts) -> None:
    assert (HERE / "RESULTS.md").read_text(encoding="utf-8") == scripts("report").render(HERE / "records")


def test_a_thousand_records_took_less_than_a_second() -> None:
    path = HERE / "records" / "scan.json"
    if not path.exists():
        pytest.skip("no record yet: python benchmarks/board/scan.py")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["records"] == 1000
    assert sorted(record["seconds"])[len(record["seconds"]) // 2] < 1
