"""What loggers are given, and what they are not."""

from __future__ import annotations

import csv
import importlib.util
import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning.loggers.logger import DummyLogger

from continual import drive, folder, trainer
from continual.composition.fusion import Fusion
from continual.drive import run_stream
from continual.errors import ContinualError
from continual.logs import base
from continual.logs.csv import CSV
from continual.logs.mlflow import MLflow
from continual.logs.none import Nothing
from continual.logs.tensorboard import TensorBoard
from continual.logs.wandb import WandB
from continual.merging.mean import Mean
from continual.parts import Parts
from continual.report.record import Record
from continual.store import Store
from continual.trainer import Machine
from tests import running
from tests.report import sample

SENTINEL = "s3ntinel" + "0123456789abcdef" * 2


def logged(root: Path, log: base.Log, **changes: Any) -> tuple[Parts, Record]:
    """A run with a logger, made as build makes it."""
    plain = running.parts(root, **changes)
    loggers = log.open(Path(plain.runs) / plain.run_id, plain.run_id, plain.choices)
    parts = running.parts(root, machine=Machine(log_every=1, loggers=loggers), **changes)
    return parts, run_stream(parts)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_none_is_no_logger() -> None:
    assert Nothing().open(Path("nowhere"), "id", {}) == ()


def test_csv_has_every_step_of_every_task_and_the_metrics_at_the_end(tmp_path: Path) -> None:
    parts, record = logged(tmp_path, CSV(), compositions=(Fusion(),))
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
            logged(tmp_path, CSV())
    parts, _ = logged(tmp_path, CSV())
    folder = tmp_path / "runs" / parts.run_id / "csv"
    heads = [set(rows(folder / f"version_{n}" / "metrics.csv")[0]) for n in (0, 1)]
    assert {"learn/toy-0/loss", "learn/toy-1/loss"} <= heads[0]
    assert "learn/toy-2/loss" in heads[1]


def test_a_finished_run_is_not_logged_again(tmp_path: Path) -> None:
    parts, record = logged(tmp_path, CSV())
    assert logged(tmp_path, CSV())[1] == record
    assert [path.name for path in (tmp_path / "runs" / parts.run_id / "csv").iterdir()] == ["version_0"]


def test_the_logger_of_a_finished_run_makes_no_files_and_it_is_said_where_all_is_quiet(
    command: Callable[..., running.Ended], tmp_path: Path
) -> None:
    given = [f"encoder.name={running.saved_encoder(tmp_path / 'encoder')}", *running.OVERRIDES, "composition=[]"]
    for log, heard in (("none", False), ("csv", True), ("none", False)):
        ended = command("run", *given, f"logger={log}", "quiet=true")
        assert ended.code == 0, ended
        assert ("was finished before: its logger is given nothing" in ended.err) == heard
    assert not list(tmp_path.rglob("csv"))


def test_loggers_change_no_result_and_no_id(tmp_path: Path) -> None:
    parts, record = logged(tmp_path / "a", CSV())
    plain = running.parts(tmp_path / "b")
    assert plain.run_id == parts.run_id
    assert running.results(run_stream(plain)) == running.results(record)


def test_a_merging_called_mean_has_its_losses_in_the_log(tmp_path: Path) -> None:
    parts, record = logged(tmp_path, CSV(), mergings=(Mean(),))
    table = rows(tmp_path / "runs" / parts.run_id / "csv" / "version_0" / "metrics.csv")
    assert (record.status, record.modules[-1].method) == ("finished", "mean")
    assert len([row for row in table if row["mean/loss"]]) == record.modules[-1].steps


def test_without_tensorboard_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning.loggers import tensorboard as home

    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'tensorboard'")

    monkeypatch.setattr(home.TensorBoardLogger, "__init__", absent)
    with pytest.raises(ContinualError, match=r'pip install "continual-adapters\[tensorboard\]"'):
        TensorBoard().open(tmp_path, "id", {})


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="the extra is not installed")
def test_tensorboard_writes_below_the_run(tmp_path: Path) -> None:
    parts, _ = logged(tmp_path, TensorBoard())
    assert list((tmp_path / "runs" / parts.run_id / "tensorboard").rglob("events.out.*"))


class FakeRun:
    """As much of a W&B run as ``close`` looks at."""

    def __init__(self, run_id: str) -> None:
        self.id, self.codes = run_id, list[int]()

    def finish(self, exit_code: int) -> None:
        self.codes.append(exit_code)


@pytest.mark.parametrize(("open_id", "codes"), [("mine", [0, 1, 1]), ("another", [])])
def test_close_ends_the_run_of_this_logger_only_and_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_id: str, codes: list[int]
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    run = FakeRun(open_id)
    monkeypatch.setattr(wandb, "run", run)
    loggers, good = WandB().open(tmp_path, "mine", {}), sample.record()
    for record in (good, None, good.model_copy(update={"status": "finished with failures"})):
        base.close(loggers, record)
    assert run.codes == codes


class Told(DummyLogger):
    """A logger that notes how its run ended."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = list[bool]()

    def close_run(self, failed: bool) -> None:
        self.failed.append(failed)


class Foreign(DummyLogger):
    """A logger of somebody else, whose methods have the names that come to mind."""

    def close(self) -> None:
        raise AssertionError("nobody asked it to")

    keep = close


def test_a_logger_of_others_may_have_methods_of_its_own(tmp_path: Path) -> None:
    record = running.run(tmp_path, machine=Machine(loggers=(Foreign(),)))
    assert record.status == "finished"


@pytest.mark.parametrize("together", [False, True])
def test_a_logger_is_told_whether_its_run_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    def failing(model, requests, *rest):
        if requests[0].name == "learn/toy-2" and requests[0].losses.parent == tmp_path / "runs" / runs[1].run_id:
            raise ContinualError("it cannot be")
        return trainer.learn(model, requests, *rest)

    loggers = [Told(), Told()]
    machines = [Machine(loggers=(logger,)) for logger in loggers]
    runs = [running.parts(tmp_path, seed=seed, machine=machine) for seed, machine in enumerate(machines)]
    monkeypatch.setattr(drive, "learn", failing)
    if together:
        monkeypatch.setattr(drive, "_together", lambda waiting: [next(iter(waiting))])
        with pytest.raises(ContinualError, match="cannot be"):
            drive.run_together(runs)
    else:
        run_stream(runs[0])
        with pytest.raises(ContinualError, match="cannot be"):
            run_stream(runs[1])
    assert [logger.failed for logger in loggers] == [[False], [True]]


WANDB = """
import sys
from pathlib import Path
from continual.composition.fusion import Fusion
from continual.logs.wandb import WandB
from tests import test_logs

import wandb

for seed in (0, 1):
    log = WandB(group="sweep-1")
    parts, record = test_logs.logged(Path(sys.argv[1]), log, seed=seed, compositions=(Fusion(),))
    assert wandb.run is None, "a run was left open"
    print(record.id)
"""


def entries(file: Path) -> Iterator[Any]:
    """What W&B wrote: records of protobuf in the frames of a LevelDB log."""
    from wandb.proto.wandb_internal_pb2 import Record as Entry

    data, place, held, block = file.read_bytes(), 7, b"", 32768
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        held += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            yield Entry.FromString(held)
            held = b""


@pytest.mark.slow
def test_wandb_works_offline_one_run_a_job_and_writes_no_secret(tmp_path: Path) -> None:
    """In a process of its own: W&B starts a service that outlives its runs."""
    settings = {"WANDB_API_KEY": SENTINEL, "HF_TOKEN": SENTINEL, "USER": "user-s3ntinel"}
    ended = running.python(WANDB, tmp_path, tmp_path, **settings)
    assert ended.returncode == 0, ended.stderr
    ids = ended.stdout.split()
    assert len(set(ids)) == 2
    for run_id in ids:
        record = json.loads((tmp_path / "runs" / run_id / "run.json").read_text())
        [place] = (tmp_path / "runs" / run_id / "wandb").glob("offline-run-*")
        [file] = place.glob("*.wandb")
        found = list(entries(file))
        assert {(e.run.run_id, e.run.run_group, e.run.host) for e in found if e.run.run_id} == {(run_id, "sweep-1", "")}
        _has_metrics(found, record)
        _has_the_matrix(found, place, record)
        _has_the_modules(found, record)
        assert not any(e.WhichOneof("record_type") in ("stats", "environment") for e in found)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert [path for path, data in written.items() if SENTINEL.encode() in data] == []
    assert [path for path, data in written.items() if b"user-s3ntinel" in data] == []
    assert SENTINEL not in ended.stdout + ended.stderr


def _history(found: list[Any]) -> list[dict[str, Any]]:
    lines = [e.history.item for e in found if e.WhichOneof("record_type") == "history"]
    return [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in line} for line in lines]


def _has_metrics(found: list[Any], record: dict[str, Any]) -> None:
    history = _history(found)
    for module in record["modules"][:3]:
        assert sum(f"learn/{module['task']}/loss" in line for line in history) == module["steps"]
    last = {key: value for line in history for key, value in line.items() if key.startswith("metric/")}
    known = {f"metric/{name}": m["value"] for name, m in record["metrics"].items() if m["value"] is not None}
    assert last == pytest.approx(known)


def _has_the_matrix(found: list[Any], place: Path, record: dict[str, Any]) -> None:
    """As a table: a line for each moment, a column for each task."""
    [file] = [line["accuracy/path"] for line in _history(found) if "accuracy/path" in line]
    table = json.loads((place / "files" / file).read_text())
    assert table["columns"] == ["after", "toy-0", "toy-1", "toy-2"]
    assert [line[0] for line in table["data"]] == ["before any", "toy-0", "toy-1", "toy-2"]
    cells = {(c["after"], c["task"]): c["score"] for c in record["cells"] if c["stage"] in ("zero", "learn")}
    assert table["data"] == [
        [line[0], *(cells.get((i - 1, j)) for j in range(3))] for i, line in enumerate(table["data"])
    ]


def _has_the_modules(found: list[Any], record: dict[str, Any]) -> None:
    """Each with its files; a composition names what it is made of."""
    artifacts = [e.request.log_artifact.artifact for e in found if e.request.log_artifact.artifact.name]
    artifacts += [e.artifact for e in found if e.WhichOneof("record_type") == "artifact"]
    kept = {a.name: a for a in artifacts if a.type in ("adapter", "composition")}
    assert list(kept) == [module["name"] for module in record["modules"]]
    by_digest = {module["digest"]: f"{module['name']}/{module['version']}" for module in record["modules"]}
    for module in record["modules"]:
        artifact = kept[module["name"]]
        facts = json.loads(artifact.metadata)
        files = sorted(entry.path for entry in artifact.manifest.contents)
        assert files == ["adapter.safetensors", "card.json", "head.safetensors"]
        assert (facts["digest"], facts["parent_digests"]) == (module["digest"], module["parents"])
        assert facts["parents"] == [by_digest[digest] for digest in module["parents"]]
    assert [bool(module["parents"]) for module in record["modules"]] == [False] * 4 + [True]


def test_modules_that_diverged_are_in_no_store_and_in_no_logger(tmp_path: Path) -> None:
    _, record = logged(tmp_path, Nothing())
    first, *others = record.modules
    gone = record.model_copy(update={"modules": [first.model_copy(update={"digest": ""}), *others]})
    assert base.stored(record) == [first, *others]
    assert base.stored(gone) == others


class Online:
    """As much of a W&B run as has a part in lineage."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def log(self, values: dict[str, Any]) -> None:
        pass

    def log_artifact(self, artifact: Any) -> Any:
        self.calls.append(("made", artifact.name))
        return SimpleNamespace(wait=lambda: artifact)

    def use_artifact(self, artifact: Any) -> None:
        self.calls.append(("used", artifact.name))


def test_online_wandb_without_a_key_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")

    def init(**_: Any) -> None:
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(ContinualError, match=r"No API key configured\. .*WANDB_API_KEY.*logger\.offline=true"):
        logged(tmp_path, WandB(offline=False))


@pytest.mark.slow
def test_online_wandb_is_told_that_a_composition_used_its_parents(tmp_path: Path) -> None:
    parts, record = logged(tmp_path, Nothing(), compositions=(Fusion(),))
    [logger] = WandB(offline=False).open(tmp_path, "id", {})
    logger._experiment = online = Online()  # type: ignore[attr-defined]
    assert isinstance(logger, base.Keeps)
    logger.keep_run(record, Store(parts.store))
    names = [module.name for module in record.modules]
    used = [("used", name) for name in names[:3]]
    assert online.calls == [*(("made", name) for name in names[:4]), *used, ("made", names[4])]


MLFLOW = """
import sys, warnings
from pathlib import Path
from continual.composition.fusion import Fusion
from continual.logs.mlflow import MLflow
from tests import test_logs

parts, record = test_logs.logged(Path(sys.argv[1]), MLflow(), compositions=(Fusion(),))
print(record.id)
"""


MLFLOW_ENDS = """
import sqlite3
from pathlib import Path
from continual.logs import base
from continual.logs.mlflow import MLflow
from tests.report import sample

[logger] = MLflow().open(Path("runs/mine").absolute(), "mine", {})
logger.log_metrics({"loss": 1.0}, 1)
after_a_training = lambda: logger.finalize("success")  # so says Lightning
for end in (after_a_training, lambda: base.close([logger], None), lambda: base.close([logger], sample.record())):
    end()
    with sqlite3.connect("runs/mlflow.db") as database:
        print(*(status for (status,) in database.execute("select status from runs")))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="the extra is not installed")
def test_mlflow_says_that_a_run_goes_on_failed_or_finished(tmp_path: Path) -> None:
    ended = running.python(MLFLOW_ENDS, tmp_path)
    assert ended.stdout.split() == ["RUNNING", "FAILED", "FINISHED"], ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="the extra is not installed")
def test_mlflow_has_losses_metrics_matrix_and_modules_in_one_database(tmp_path: Path) -> None:
    ended = running.python(MLFLOW, tmp_path, tmp_path)
    assert ended.returncode == 0, ended.stderr
    record = json.loads((tmp_path / "runs" / ended.stdout.split()[-1] / "run.json").read_text())
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as base:
        [(name, status)] = base.execute("select name, status from runs").fetchall()
        metrics = dict(base.execute("select key, value from latest_metrics").fetchall())
        steps = base.execute("select count(*) from metrics where key = 'learn/toy-1/loss'").fetchone()[0]
    assert (name, status) == (record["id"], "FINISHED")
    assert steps == record["modules"][1]["steps"]
    known = {f"metric/{name}": m["value"] for name, m in record["metrics"].items() if m["value"] is not None}
    assert {name: value for name, value in metrics.items() if name.startswith("metric/")} == pytest.approx(known)
    [table] = (tmp_path / "runs" / "mlruns").rglob("accuracy.json")
    assert json.loads(table.read_text())["columns"] == ["after", "toy-0", "toy-1", "toy-2"]
    modules = {path.parent.name for path in (tmp_path / "runs" / "mlruns").rglob("adapter.safetensors")}
    assert modules == {module["name"] for module in record["modules"]}


def test_without_mlflow_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning.loggers import mlflow as home

    monkeypatch.setattr(home, "_MLFLOW_AVAILABLE", False)
    with pytest.raises(ContinualError, match=r'pip install "continual-adapters\[mlflow\]"'):
        MLflow().open(tmp_path / "runs" / "id", "id", {})


def test_every_logger_has_a_file_in_conf_and_every_file_a_logger() -> None:
    conf = {path.stem for path in (Path(__file__).parents[1] / "conf" / "logger").glob("*.yaml")}
    assert conf == set(folder.names("continual.logs"))
    assert all(folder.component("continual.logs", name)().open for name in conf)
