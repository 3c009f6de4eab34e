"""SIGKILL at any moment, then the same again: the run ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from continual import trainer
from continual.composition.fusion import Fusion
from continual.composition.unipelt import UniPELT
from continual.drive import run_stream
from continual.errors import ContinualError, CorruptError
from continual.report.record import Record
from continual.store import Store
from tests import running

BOTH = (Fusion(), UniPELT())

# Forks, for each moment, a process that kills itself where it is about to call a function for the k-th time.
KILLED = """
import importlib, os, signal, sys, traceback
from pathlib import Path
from tests import running, test_resume

def deadly(where, count):
    place, _, name = where.rpartition(":")
    module, _, kind = place.partition("/")
    home = importlib.import_module(module)
    home = getattr(home, kind) if kind else home
    real, calls = getattr(home, name), 0

    def call(*args, **options):
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    setattr(home, name, call)

for number, (where, count) in enumerate(test_resume.MOMENTS):
    child = os.fork()
    if child == 0:
        try:
            deadly(where, count)
            running.run(Path(sys.argv[1]) / str(number), compositions=test_resume.BOTH)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print(os.waitpid(child, 0)[1])
"""

MOMENTS = [
    ("continual.session:append_line", 1),  # a module is stored and not in the journal
    ("continual.session:append_line", 3),
    ("continual.session:append_line", 5),  # fusion is
    ("continual.ledger:append_line", 1),  # before the first row
    ("continual.ledger:append_line", 3),  # a module is in the journal and its row is not in the ledger
    ("continual.ledger:append_line", 5),  # among the comparisons at the end
    ("continual.learner/Learner:training_step", 6),  # in the training of the second task
    ("continual.learner/Learner:training_step", 21),  # of the composition
    ("continual.store.store/Store:_name", 2),  # an object is there and its name is not
    ("continual.store.store:sync_folder", 4),  # between an object and its place
    ("continual.store.store:write_synced", 5),  # half of an object's files
    ("continual.summary:save", 1),  # all is there but the record
]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return running.run(tmp_path_factory.mktemp("unbroken"), compositions=BOTH)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is left behind by each death, in a folder of its own."""
    root = tmp_path_factory.mktemp("killed")
    died = running.python(KILLED, Path.cwd(), root)
    assert died.stdout.split() == [str(signal.SIGKILL.value)] * len(MOMENTS), died.stderr
    return root


@pytest.mark.parametrize("number", range(len(MOMENTS)), ids=["-".join(map(str, moment)) for moment in MOMENTS])
def test_a_killed_run_ends_as_an_unbroken_one(killed: Path, unbroken: Record, number: int) -> None:
    root = killed / str(number)
    assert not list(root.glob("runs/*/run.json"))
    record = running.run(root, compositions=BOTH)
    assert running.results(record) == running.results(unbroken)
    store = Store(root / "store")
    assert list(store.verify()) == []
    assert {name: store.versions(name) for name in store.names()} == {m.name: [1] for m in unbroken.modules}
    objects = [path.name for path in (root / "store" / "objects").iterdir() if not path.name.startswith(".")]
    assert sorted(objects) == sorted({module.digest for module in unbroken.modules})


def test_a_torn_last_line_is_done_again(tmp_path: Path, unbroken: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = running.parts(tmp_path, compositions=BOTH)
    run_stream(parts)
    folder = tmp_path / "runs" / parts.run_id
    (folder / "run.json").unlink()
    for name in ("modules.jsonl", "ledger.jsonl"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-7])
    assert running.results(run_stream(parts)) == running.results(unbroken)
    assert [entry["key"] for entry in running.lines(folder / "modules.jsonl")][-1] == "unipelt"


def test_what_was_done_before_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = running.parts(tmp_path)
    run_stream(parts)
    folder = tmp_path / "runs" / parts.run_id
    (folder / "run.json").unlink()
    monkeypatch.setattr(trainer, "learn", None)
    before = (folder / "modules.jsonl").read_bytes(), (folder / "ledger.jsonl").read_bytes()
    assert run_stream(parts).forwarded_rows == 0
    assert before == ((folder / "modules.jsonl").read_bytes(), (folder / "ledger.jsonl").read_bytes())


def test_a_damaged_line_before_the_last_is_named(tmp_path: Path) -> None:
    parts = running.parts(tmp_path)
    run_stream(parts)
    folder = tmp_path / "runs" / parts.run_id
    (folder / "run.json").unlink()
    path = folder / "modules.jsonl"
    path.write_bytes(path.read_bytes().replace(b"toy-0", b"toy-9", 1))
    with pytest.raises(CorruptError, match=r"modules\.jsonl, line 1"):
        run_stream(parts)


def test_a_module_that_was_lost_between_two_calls_is_named(tmp_path: Path) -> None:
    parts = running.parts(tmp_path, compositions=(Fusion(),))
    record = run_stream(parts)
    (tmp_path / "runs" / parts.run_id / "run.json").unlink()
    (tmp_path / "store" / "objects" / record.modules[0].digest / "head.safetensors").unlink()
    with pytest.raises(CorruptError, match=r"head\.safetensors"):
        run_stream(parts)


def test_a_record_that_is_not_one_is_named(tmp_path: Path) -> None:
    parts = running.parts(tmp_path)
    run_stream(parts)
    (tmp_path / "runs" / parts.run_id / "run.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"run\.json is not a run record"):
        run_stream(parts)


def test_the_same_run_twice_at_once_is_said(tmp_path: Path) -> None:
    """The first process stops in the middle, and holds the run."""
    code = """
import sys
from pathlib import Path
from continual import drive
from tests import running

def wait(*_):
    print("here", flush=True)
    sys.stdin.read()

drive.learn = wait
running.run(Path(sys.argv[1]))
"""
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=running.environment(),
        text=True,
    )
    try:
        assert first.stdout.readline() == "here\n"
        with pytest.raises(ContinualError, match="is going on in another process"):
            running.run(tmp_path)
        other = replace(running.parts(tmp_path), seed=1)
        assert run_stream(other).status == "finished"
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    assert running.run(tmp_path).status == "finished"  # the lock of a dead process holds nothing


def test_a_run_that_goes_on_with_nothing_to_train_reads_in_the_precision_in_which_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = trainer.Machine(precision="bf16-mixed", gradient_checkpointing=True)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("continual.run.summarize", stop)
        with pytest.raises(KeyboardInterrupt):
            running.run(tmp_path, machine=machine)
    assert running.run(tmp_path, machine=machine).status == "finished"
