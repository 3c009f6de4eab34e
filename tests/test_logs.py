"""What loggers are given, and what they are not."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from continual import drive, logs, trainer
from continual.composition.fusion import Fusion
from continual.drive import run_stream
from continual.errors import ContinualError
from continual.parts import Parts
from continual.report.record import Record
from continual.trainer import Machine
from tests import running

SENTINEL = "s3ntinel" + "0123456789abcdef" * 2


def logged(root: Path, make: logs.Make, **changes: Any) -> tuple[Parts, Record]:
    """A run with a logger, made as build makes it."""
    plain = running.parts(root, **changes)
    loggers = make(Path(plain.runs) / plain.run_id, plain.run_id, plain.choices)
    parts = running.parts(root, machine=Machine(log_every=1, loggers=loggers), **changes)
    return parts, run_stream(parts)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_none_is_no_logger() -> None:
    assert logs.none()(Path("nowhere"), "id", {}) == ()


def test_csv_has_every_step_of_every_task_and_the_metrics_at_the_end(tmp_path: Path) -> None:
    parts, record = logged(tmp_path, logs.csv(), compositions=(Fusion(),))
    table = rows(tmp_path / "runs" / parts.run_id / "csv" / "version_0" / "metrics.csv")
    for name, module in zip(
        ["learn/toy-0", "learn/toy-1", "learn/toy-2", "head/toy-2", "fusion"], record.modules, strict=True
    ):
        steps = [int(row["step"]) for row in table if row[f"{name}/loss"]]
        assert steps == list(range(module.steps))
    last = {name.removeprefix("metric/"): value for name, value in table[-1].items() if name.startswith("metric/")}
    known = {name: metric.value for name, metric in record.metrics.items() if metric.value is not None}
    assert {name: float(value) for name, value in last.items()} == pytest.approx(known)


def test_a_run_that_goes_on_keeps_what_was_logged_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(model, requests, *rest):
        if requests[0].name == "learn/toy-2":
            raise KeyboardInterrupt
        return trainer.learn(model, requests, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(drive, "learn", failing)
        with pytest.raises(KeyboardInterrupt):
            logged(tmp_path, logs.csv())
    parts, _ = logged(tmp_path, logs.csv())
    folder = tmp_path / "runs" / parts.run_id / "csv"
    heads = [set(rows(folder / f"version_{n}" / "metrics.csv")[0]) for n in (0, 1)]
    assert {"learn/toy-0/loss", "learn/toy-1/loss"} <= heads[0]
    assert "learn/toy-2/loss" in heads[1]


def test_a_finished_run_is_not_logged_again(tmp_path: Path) -> None:
    parts, record = logged(tmp_path, logs.csv())
    assert logged(tmp_path, logs.csv())[1] == record
    assert [path.name for path in (tmp_path / "runs" / parts.run_id / "csv").iterdir()] == ["version_0"]


def test_loggers_change_no_result_and_no_id(tmp_path: Path) -> None:
    parts, record = logged(tmp_path / "a", logs.csv())
    plain = running.parts(tmp_path / "b")
    assert plain.run_id == parts.run_id
    assert running.results(run_stream(plain)) == running.results(record)


def test_without_tensorboard_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning.loggers import tensorboard as home

    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'tensorboard'")

    monkeypatch.setattr(home.TensorBoardLogger, "__init__", absent)
    with pytest.raises(ContinualError, match=r'pip install "continual-adapters\[tensorboard\]"'):
        logs.tensorboard()(tmp_path, "id", {})


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="the extra is not installed")
def test_tensorboard_writes_below_the_run(tmp_path: Path) -> None:
    parts, _ = logged(tmp_path, logs.tensorboard())
    assert list((tmp_path / "runs" / parts.run_id / "tensorboard").rglob("events.out.*"))


class FakeRun:
    """As much of a W&B run as ``close`` looks at."""

    def __init__(self, run_id: str) -> None:
        self.id, self.finished = run_id, 0

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize(("open_id", "finished"), [("mine", 1), ("another", 0)])
def test_close_ends_the_run_of_this_logger_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_id: str, finished: int
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    run = FakeRun(open_id)
    monkeypatch.setattr(wandb, "run", run)
    logs.close(logs.wandb()(tmp_path, "mine", {}))
    assert run.finished == finished


WANDB = """
import sys
from pathlib import Path
from continual import logs
from tests import test_logs

import wandb

for seed in (0, 1):
    parts, record = test_logs.logged(Path(sys.argv[1]), logs.wandb(), seed=seed)
    assert wandb.run is None, "a run was left open"
    print(record.id)
"""


@pytest.mark.slow
def test_wandb_works_offline_one_run_a_run_and_writes_no_secret(tmp_path: Path) -> None:
    """In a process of its own: W&B starts a service that outlives its runs."""
    settings = {"WANDB_API_KEY": SENTINEL, "HF_TOKEN": SENTINEL}
    ended = running.python(WANDB, tmp_path, tmp_path, **settings)
    assert ended.returncode == 0, ended.stderr
    ids = ended.stdout.split()
    assert len(set(ids)) == 2
    for run_id in ids:
        [folder] = (tmp_path / "runs" / run_id / "wandb").glob("offline-run-*")
        assert folder.name.endswith(run_id)
        [file] = folder.glob("*.wandb")
        content = file.read_bytes()
        assert b"metric/average_accuracy" in content
        assert b"learn/toy-2/loss" in content
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if SENTINEL.encode() in path.read_bytes()] == []
    assert SENTINEL not in ended.stdout + ended.stderr
