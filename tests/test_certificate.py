"""What a stage stored stays as it was, and one flipped weight fails the run, wherever it is and whenever it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from continual import drive
from continual.certificate import FILE
from continual.errors import ContinualError, IsolationError
from continual.evaluate import Evaluate
from continual.ledger import Ledger
from continual.report.record import Certificate
from continual.session import Session
from continual.store import Store
from continual.trainer import Machine
from tests import running

LAYER = "1/ffn_norm/down"


def journal(root: Path) -> list[dict[str, Any]]:
    [path] = (root / "runs").glob(f"*/{FILE}")
    return running.lines(path)


def proven(root: Path) -> list[tuple[str, int]]:
    return [(line["proven"], line["modules"]) for line in journal(root) if "proven" in line]


def flip(root: Path, task: str, file: str = "adapter.safetensors", name: str = LAYER) -> None:
    """One bit of one number, in a file that is a good one otherwise."""
    store = Store(root / "store")
    path = root / "store" / "objects" / store.resolve(f"toy.{task}.bottleneck") / file
    tensors = load_file(path)
    tensors[name].view(torch.int32).flatten()[0] ^= 1
    save_file(tensors, path)


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[Any], object]], None]:
    """Do something while the n-th module is learned; it is given the encoder with its sites."""

    def arrange(number: int, act: Callable[[Any], object]) -> None:
        learn, calls = drive.learn, []

        def learned(model, *arguments):
            calls.append(None)
            found = learn(model, *arguments)
            if len(calls) == number:
                act(model)
            return found

        monkeypatch.setattr(drive, "learn", learned)

    return arrange


def test_each_module_is_entered_once_and_compared_after_every_later_stage(tmp_path: Path) -> None:
    record = running.run(tmp_path)
    lines = journal(tmp_path)
    assert [line["task"] for line in lines if "task" in line] == ["toy-0", "toy-1", "toy-2"]
    assert proven(tmp_path) == [("toy-0", 1), ("toy-1", 2), ("toy-2", 3), ("the last stage", 3)]
    assert record.certificate is not None
    assert (record.certificate.stages, record.certificate.comparisons, record.certificate.rows) == (4, 1 + 2 + 3, 8)
    assert record.certificate == Certificate.model_validate(record.certificate.model_dump(mode="json"))


def test_tasks_that_were_learned_together_are_proven_once_before_the_first_of_them_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, seen = Ledger.add, []
    monkeypatch.setattr(Ledger, "add", lambda *given: (seen.append(len(proven(tmp_path))), add(*given))[1])
    record = running.run(tmp_path, machine=Machine(group=8))
    assert proven(tmp_path) == [("toy-0", 3), ("the last stage", 3)]
    assert len(seen) == 4
    assert seen[1:] == [1] * 3  # the first row is the bare encoder's
    assert record.certificate is not None
    assert (record.certificate.stages, record.certificate.comparisons) == (2, 3)


def test_a_group_that_was_killed_in_the_midst_of_being_stored_is_proven_before_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, calls = Session.keep, []

    def killed(*arguments, **more):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return keep(*arguments, **more)

    monkeypatch.setattr(Session, "keep", killed)
    with pytest.raises(KeyboardInterrupt):
        running.run(tmp_path, machine=Machine(group=8))
    assert proven(tmp_path) == []
    running.run(tmp_path, machine=Machine(group=8))
    assert proven(tmp_path) == [("toy-0", 2), ("toy-2", 3), ("the last stage", 3)]


def test_a_training_that_diverged_is_proven_to_have_moved_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, calls = drive.learn, []

    def diverging(*arguments):
        calls.append(None)
        found = learn(*arguments)
        return [replace(one, diverged="loss nan at step 1 of 2") if len(calls) == 2 else one for one in found]

    monkeypatch.setattr(drive, "learn", diverging)
    running.run(tmp_path)
    assert proven(tmp_path) == [("toy-0", 1), ("toy-1", 1), ("toy-2", 2), ("the last stage", 2)]


@pytest.mark.parametrize(("file", "name"), [("adapter.safetensors", LAYER), ("head.safetensors", "weight")])
@pytest.mark.parametrize("reuse", [True, False])
def test_a_flipped_bit_of_a_stored_module_fails_the_run_and_names_task_and_layer(
    file: str, name: str, reuse: bool, tmp_path: Path, during: Callable
) -> None:
    during(3, lambda _: flip(tmp_path, "toy-1", file, name))
    where = f"layer 1 .{LAYER}." if name == LAYER else "head/weight"
    with pytest.raises(IsolationError, match=f"after toy-2: the module of task 'toy-1' .* changed in {where}"):
        running.run(tmp_path, evaluate=Evaluate(reuse=reuse))
    assert "toy-1" in journal(tmp_path)[-1]["why"]


def test_it_is_named_too_where_the_next_stage_is_the_first_to_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was stopped; the file was damaged meanwhile; going on reads the modules of the past."""
    learn, calls = drive.learn, []

    def stopped(*arguments):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return learn(*arguments)

    monkeypatch.setattr(drive, "learn", stopped)
    with pytest.raises(KeyboardInterrupt):
        running.run(tmp_path)
    flip(tmp_path, "toy-0")
    with pytest.raises(IsolationError, match=f"the module of task 'toy-0' .* changed in layer 1 .{LAYER}."):
        running.run(tmp_path)
    flip(tmp_path, "toy-0")  # back
    monkeypatch.setattr(drive, "learn", learn)
    assert running.run(tmp_path).status == "finished"


def test_a_file_that_cannot_be_read_at_all_names_its_task(tmp_path: Path, during: Callable) -> None:
    def cut(_: Any) -> None:
        store = Store(tmp_path / "store")
        path = store.root / "objects" / store.resolve("toy.toy-0.bottleneck") / "adapter.safetensors"
        path.write_bytes(path.read_bytes()[:50])

    during(2, cut)
    with pytest.raises(IsolationError, match=r"after toy-1: the module of task 'toy-0' .* cannot be read"):
        running.run(tmp_path)


def test_a_flipped_bit_of_the_frozen_encoder_fails_the_run_and_names_the_layer(
    tmp_path: Path, during: Callable
) -> None:
    def change(model: Any) -> None:
        weights = model.encoder.state_dict()
        name = next(name for name in weights if "layer.1.output.dense.weight" in name)
        weights[name].view(torch.int32).flatten()[0] ^= 1

    encoder = running.tiny.encoder("bert", seed=7, words=running.toy.WORDS)  # the shared one stays as it is
    during(2, change)
    with pytest.raises(IsolationError, match=r"after toy-1: the frozen encoder .* changed in layer 1 .*output\.dense"):
        running.run(tmp_path, encoder=encoder)


def test_answers_that_are_others_though_no_number_moved_fail_the_run(tmp_path: Path, during: Callable) -> None:
    """An encoder that was left in training mode drops units."""

    def train(model: Any) -> None:
        model.eval = lambda: model  # whoever asks
        model.encoder.train()

    encoder = running.tiny.encoder("bert", seed=7, words=running.toy.WORDS)
    during(2, train)
    with pytest.raises(IsolationError, match="after toy-1: the module of task 'toy-0' answers its 8 rows otherwise"):
        running.run(tmp_path, encoder=encoder)


def test_with_other_threads_answers_are_entered_again_and_tensors_are_still_compared(
    tmp_path: Path, during: Callable
) -> None:
    threads = torch.get_num_threads()
    during(2, lambda _: torch.set_num_threads(threads + 1))
    try:
        record = running.run(tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert record.status == "finished"
    entered = [(line["task"], line["on"]["threads"] - threads) for line in journal(tmp_path) if "task" in line]
    assert entered == [("toy-0", 0), ("toy-0", 1), ("toy-1", 1), ("toy-2", 1)]


def test_without_probe_rows_the_tensors_alone_are_compared(tmp_path: Path, during: Callable) -> None:
    running.run(tmp_path / "quiet", evaluate=Evaluate(probe=0))
    assert not any("logits" in line for line in journal(tmp_path / "quiet"))
    during(3, lambda _: flip(tmp_path / "loud", "toy-0"))
    with pytest.raises(IsolationError, match="changed in layer 1"):
        running.run(tmp_path / "loud", evaluate=Evaluate(probe=0))
    with pytest.raises(ContinualError, match=r"evaluate\.probe must be 0 or more"):
        Evaluate(probe=-1)
