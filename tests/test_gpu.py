"""On a CUDA device: what was proven on the CPU holds there too."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from continual import even, folder, trainer
from continual.adapter import flatten
from continual.captured import Captured
from continual.composition import named as composed
from continual.dealt import Dealt, deal
from continual.drive import run_stream
from continual.head.classify import Classify
from continual.method import named
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.parts import Parts
from continual.predict import to
from continual.report.record import Record
from continual.request import Learn, Learned, Recipe
from continual.stream.base import Stream
from continual.task_streams import toy
from continual.trainer import Machine
from continual.types import Batch
from tests import tiny
from tests.test_learner import MIXED, ask, four

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def record(tmp_path: Path, accelerator: str, devices: int = 1) -> Record:
    encoder = tiny.encoder(words=toy.WORDS)
    machine = Machine(accelerator=accelerator, devices=devices)
    stream = Stream("toy", tuple(toy.tasks()))
    recipe = Recipe(epochs=4, batch_size=16)
    place = tmp_path / f"{accelerator}-{devices}"
    folders = {"runs": place / "runs", "store": place / "store"}
    return run_stream(Parts(encoder, stream, recipe=recipe, machine=machine, **folders))


def test_a_whole_run_on_the_gpu_agrees_with_the_cpu(tmp_path: Path) -> None:
    gpu, cpu = record(tmp_path, "gpu"), record(tmp_path, "cpu")
    assert gpu.status == "finished"
    assert gpu.encoder_unchanged
    assert gpu.modules_unchanged
    assert gpu.metrics["backward_transfer"].value == 0.0
    assert len(gpu.cells) == len(cpu.cells)
    for one, other in zip(gpu.cells, cpu.cells, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.15)  # a few of 48 rows may fall the other way


@pytest.mark.parametrize("name", ["full", "sparse", "bottleneck", "lora", "prefix", "prompt"])
def test_a_module_loads_into_an_encoder_on_the_card(name: str) -> None:
    """What is stored lies on the CPU, whatever the encoder runs on: it answers as it does there."""
    model = tiny.adapted()
    adapter = tiny.trained(named(name, {"rule": "random"} if name == "sparse" else {}), model)
    model.load([adapter])
    wanted = model(tiny.batch())
    model.load([])
    model.to("cuda").load([adapter])
    assert tiny.gap(model(to(tiny.batch(), torch.device("cuda"))).cpu(), wanted) < 1e-4
    taken, given = flatten(model.take().params), flatten(adapter.params)
    assert all(torch.equal(taken[key], given[key]) for key in given)


# Steps that are captured


def learned(monkeypatch: pytest.MonkeyPatch, graphs: bool, requests: list[Learn], group: int = 4) -> list[Learned]:
    """Trained on the card, in float32; whether steps were captured must be as asked."""
    made: list[Captured] = []
    monkeypatch.setattr(even, "Captured", lambda call: made.append(Captured(call)) or made[-1])
    found = trainer.learn(tiny.adapted(), requests, Machine("gpu", graphs=graphs, group=group), tiny.QUIET)
    assert [one.captures > 0 for one in made] == [True] * graphs
    return found


def close(one: Learned, other: Learned, within: float = 2e-3) -> None:
    assert one.steps == other.steps
    pairs = [(tensor, other.head_params[name]) for name, tensor in one.head_params.items()]
    mine, theirs = flatten(one.adapter.params), flatten(other.adapter.params)
    pairs += [(tensor, theirs[name]) for name, tensor in mine.items()]
    pairs += [(tensor, other.mixers[name]) for name, tensor in one.mixers.items()]
    assert max(tiny.gap(a, b) for a, b in pairs) < within


SITES = [name for name in folder.names("continual.method") if name not in ("full", "sparse")]


@pytest.mark.parametrize("name", SITES)
def test_a_module_whose_steps_are_captured_is_the_one_that_is_trained_without(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = named(name, {})
    request = ask(tiny.adapted(), method, 3, seed=1, epochs=8, batch_size=20, lr=1e-4)
    [one], [other] = learned(monkeypatch, True, [request]), learned(monkeypatch, False, [request])
    close(one, other)


def test_a_group_whose_steps_are_captured_is_what_its_members_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.adapted()
    for methods in (MIXED, (Bottleneck(8),) * 4, (LoRA(rank=2, dropout=0.1),) * 4):
        requests = [replace(r, lr=1e-4) for r in four(model, methods, epochs=6, batch_size=20)]
        together = learned(monkeypatch, True, requests)
        for request, found in zip(requests, together, strict=True):
            close(learned(monkeypatch, False, [request])[0], found)


@pytest.mark.parametrize("name", folder.names("continual.composition"))
def test_a_composition_whose_steps_are_captured_is_the_one_that_is_trained_without(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, composition = tiny.adapted(), composed(name, {})
    modules = tuple(tiny.trained(named(kind, {}), model, n) for n, kind in enumerate(["bottleneck", "lora"]))
    request = ask(model, Bottleneck(), 3, epochs=8, batch_size=20, lr=1e-4)
    request = replace(request, adapters=modules, composition=composition)
    [one], [other] = learned(monkeypatch, True, [request]), learned(monkeypatch, False, [request])
    close(one, other)


def test_a_member_that_diverges_among_captured_steps_stops_at_that_step(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = four(tiny.adapted(), epochs=6)
    bad = replace(requests[2], lr=1e30, recipe=replace(requests[2].recipe, clip=None))
    group = [requests[0], requests[1], bad, requests[3]]
    one, other = learned(monkeypatch, True, group), learned(monkeypatch, False, group)
    assert one[2].diverged == other[2].diverged != ""
    assert [x.steps for x in one] == [x.steps for x in other]


def test_after_the_first_epochs_nothing_is_captured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    step = Captured.__call__
    monkeypatch.setattr(Captured, "__call__", lambda s, *a: (step(s, *a), counts.append(s.captures))[0])
    requests = four(tiny.adapted(), [replace(m, dropout=0.0) for m in MIXED], epochs=12)  # one has half as many steps
    learned(monkeypatch, True, requests)
    assert counts[9] == counts[len(counts) // 2 - 6] == 1
    assert counts[len(counts) // 2 + 9] == counts[-1] == 2


class Looking(Classify):
    """A head whose loss asks for a number, as somebody's own may."""

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor, member: Tensor) -> Tensor:
        loss = super().loss(logits, targets, example, member)
        assert loss.sum().item() >= 0
        return loss


def test_a_step_that_cannot_be_captured_is_launched_as_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = ask(tiny.adapted(), Bottleneck(8), 3, seed=1, epochs=8, batch_size=20, lr=1e-4)
    [one] = learned(monkeypatch, False, [request])
    [other] = trainer.learn(tiny.adapted(), [replace(request, head=Looking())], Machine("gpu"), tiny.QUIET)
    close(one, other)
    assert caplog.text.count("not as a CUDA graph") == 1


def test_an_older_graph_that_is_collected_meanwhile_does_not_spoil_a_capture(caplog: pytest.LogCaptureFixture) -> None:
    """A learner that is gone takes its graphs along when its cycles are found, which may be at any moment."""

    kept: list[Captured] = []

    def busy(batch: Batch) -> Tensor:
        if torch.cuda.is_current_stream_capturing():
            kept.clear()
        held = [[tensor] for tensor in (1 + batch.inputs,) * 50]  # that many new objects start a search for cycles
        return held[-1][0]

    batch = Batch(torch.zeros(2, 3, device="cuda"), None, torch.zeros(2, device="cuda"))
    kept.append(Captured(lambda batch: 2 * batch.inputs))
    kept[0].itself = kept[0]  # type: ignore[attr-defined]
    newer = Captured(busy)
    for _ in range(3):
        kept[0](batch)
    for _ in range(2):
        newer(batch)
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        found = newer(batch)
    finally:
        gc.set_threshold(*before)
    assert (newer.captures, caplog.text) == (1, "")
    assert torch.equal(found, torch.ones_like(found))


# Two cards

two_cards = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


def on_two(
    monkeypatch: pytest.MonkeyPatch, requests: list[Learn], rounds: int = 1, **options: object
) -> tuple[list[Learned], list[tuple[int, int]]]:
    """Dealt over both cards, ``rounds`` times; what came last, and (device, captures) of all trainings."""
    made: list[tuple[int, Captured]] = []

    def captured(call: object) -> Captured:
        made.append((torch.cuda.current_device(), Captured(call)))  # type: ignore[arg-type]
        return made[-1][1]

    monkeypatch.setattr(even, "Captured", captured)
    model = tiny.adapted()
    dealt = Dealt(model, Machine("gpu", devices=2, group=4, **options), trainer.learn)  # type: ignore[arg-type]
    for _ in range(rounds):
        found = dealt(requests, tiny.QUIET)
    assert next(model.encoder.parameters()).device == torch.device("cuda:0")
    assert torch.cuda.current_device() == 0
    return found, [(device, one.captures) for device, one in made]


@two_cards
def test_what_two_cards_learn_is_what_one_does_and_both_capture_their_steps(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny.adapted()
    for methods in (MIXED, (Bottleneck(8),) * 4, (LoRA(rank=2, dropout=0.1),) * 4):
        requests = [replace(r, lr=1e-4) for r in four(model, methods, epochs=6, batch_size=20)]
        found, captures = on_two(monkeypatch, requests, rounds=3)
        assert sorted(device for device, _ in captures) == [0, 0, 0, 1, 1, 1]
        assert min(count for _, count in captures) > 0
        for request, one in zip(requests, found, strict=True):
            close(learned(monkeypatch, False, [request])[0], one)
    assert "not as a CUDA graph" not in caplog.text


@two_cards
def test_the_second_card_is_done_early_and_the_graphs_of_the_first_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of a training frees memory; the other goes on with its graphs for many times as long."""
    long, short = (ask(tiny.adapted(), Bottleneck(8), 0, seed=1, epochs=n, batch_size=20, lr=1e-4) for n in (60, 4))
    requests = [long, *(replace(short, seed=n) for n in range(3))]
    assert deal(requests, 2) == [[0], [1, 2, 3]]
    found, captures = on_two(monkeypatch, requests)
    assert min(count for _, count in captures) > 0
    for request, one in zip(requests, found, strict=True):
        close(learned(monkeypatch, False, [request])[0], one, within=5e-3)


@two_cards
def test_the_first_card_is_done_early_and_the_graphs_of_the_second_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, long = (ask(tiny.adapted(), Bottleneck(8), 0, seed=1, epochs=n, batch_size=20, lr=1e-4) for n in (61, 60))
    bad = replace(bad, lr=1e30, recipe=replace(bad.recipe, clip=None))
    assert deal([bad, long], 2) == [[0], [1]]
    (gone, one), captures = on_two(monkeypatch, [bad, long])
    assert gone.diverged
    assert dict(captures)[1] > 0
    close(learned(monkeypatch, False, [long])[0], one, within=5e-3)


@two_cards
@pytest.mark.parametrize("options", [{"graphs": False}, {"gradient_checkpointing": True}, {"cache": 0}], ids=str)
def test_two_cards_learn_without_graphs_what_one_does(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    upper = Bottleneck(8, layers="1-")
    requests = [ask(tiny.adapted(), upper, task, seed=task, epochs=6, batch_size=20, lr=1e-4) for task in range(4)]
    for request, one in zip(requests, on_two(monkeypatch, requests, **options)[0], strict=True):
        close(learned(monkeypatch, False, [request])[0], one)


@two_cards
def test_an_error_on_the_second_card_is_raised_and_the_next_call_is_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Classify):
        def loss(self, logits: Tensor, targets: Tensor, example: Tensor, member: Tensor) -> Tensor:
            raise ArithmeticError("on purpose")

    one = ask(tiny.adapted(), Bottleneck(8), 3, seed=1, epochs=8, batch_size=20, lr=1e-4)
    dealt = Dealt(tiny.adapted(), Machine("gpu", devices=2, group=4), trainer.learn)
    with pytest.raises(ArithmeticError, match="on purpose"):
        dealt([replace(one, recipe=replace(one.recipe, epochs=400)), replace(one, head=Failing())], tiny.QUIET)
    wanted = learned(monkeypatch, False, [one])[0]
    monkeypatch.undo()
    for found in dealt([one, one], tiny.QUIET):
        close(wanted, found)


@two_cards
def test_a_whole_run_on_two_cards_agrees_with_one(tmp_path: Path) -> None:
    two, one = record(tmp_path, "gpu", 2), record(tmp_path, "gpu")
    assert (two.id, two.status, two.encoder_unchanged, two.modules_unchanged) == (one.id, "finished", True, True)
    for a, b in zip(one.cells, two.cells, strict=True):
        assert a.score == pytest.approx(b.score, abs=0.15)  # a few of 48 rows may fall the other way
