"""Steps of few shapes, which a GPU replays: what fills a batch up counts nowhere, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import masking_utils

from continual import folder, learner, trainer
from continual.captured import _form
from continual.composition import named as composed
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.even import EvenSteps
from continual.head.classify import Classify
from continual.head.multilabel import Multilabel
from continual.head.regress import Regress
from continual.head.span import Span
from continual.head.tag import Tag
from continual.lanes import Lanes
from continual.learner import Learner
from continual.member import Member
from continual.method import named
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.head import HeadOnly
from continual.method.lora import LoRA
from continual.request import Learn, Learned
from continual.steps import Steps
from continual.trainer import Machine
from continual.within import Within, WithinTags
from tests import tiny
from tests.test_learner import Held, apart, ask, four, staged


@pytest.fixture
def model() -> AdaptedEncoder:
    return tiny.adapted(dtype=torch.float64)


def evenly(monkeypatch: pytest.MonkeyPatch, model: AdaptedEncoder, requests: list[Learn], lanes: int) -> list[Learned]:
    """As on a GPU, but that nothing is captured."""
    used: list[bool] = []
    step = EvenSteps.whole
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "captures", lambda machine: True)
        patch.setattr(EvenSteps, "whole", lambda *a: (used.append(True), step(*a))[1])
        found = trainer.learn(model, requests, Machine(group=lanes), tiny.QUIET)
    assert used
    return found


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
def test_a_member_learns_what_it_learns_alone(
    model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    """Batches of 20 leave a short one in every epoch; lengths, rates, epochs and dropout differ, one stops early."""
    requests = [ask(model, Bottleneck(8), 2, seed=9, epochs=2, batch_size=20), *four(model, epochs=4, batch_size=20)]
    requests[2] = replace(requests[2], recipe=replace(requests[2].recipe, patience=1))
    together = evenly(monkeypatch, model, requests, lanes)
    for request, found in zip(requests, together, strict=True):
        assert apart(tiny.train(model, request)[0], found) <= 1e-10


def test_those_that_go_on_when_the_first_is_done_keep_their_own_parameters(
    model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = list(reversed(four(model, [Bottleneck(8)] * 4, epochs=3, batch_size=20)))  # the first has half the rows
    for request, found in zip(requests, evenly(monkeypatch, model, requests, 4), strict=True):
        assert apart(tiny.train(model, request)[0], found) <= 1e-10


@pytest.mark.parametrize("how", ["rate", "head"])
def test_a_member_that_diverges_stops_at_that_step_though_nobody_looks(
    model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    requests = four(model)
    if how == "rate":
        bad = replace(requests[2], lr=1e200, recipe=replace(requests[2].recipe, clip=None))
    else:
        bad = replace(requests[2], head_params={n: t * torch.nan for n, t in requests[2].head_params.items()})
    look, group = EvenSteps.look, [requests[0], requests[1], bad, requests[3]]
    monkeypatch.setattr(EvenSteps, "look", lambda self, wait: look(self, wait) if wait else None)
    late = evenly(monkeypatch, model, group, 4)
    monkeypatch.setattr(EvenSteps, "look", look)
    for one, two in zip(tiny.train(model, *group), late, strict=True):
        if one.diverged:
            assert (one.diverged, one.steps) == (two.diverged, two.steps)
        else:
            assert apart(one, two) <= 1e-10
    assert late[2].diverged


def test_a_composition_is_learned_as_ever(model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = tuple(tiny.trained(Bottleneck(8), model, seed) for seed in (1, 2))
    request = replace(ask(model, Bottleneck(8), batch_size=20), adapters=modules, composition=Fusion(temperature=3.0))
    [one], [two] = tiny.train(model, request), evenly(monkeypatch, model, [request], 1)
    assert one.mixers.keys() == two.mixers.keys()
    assert max(tiny.gap(tensor, two.mixers[name]) for name, tensor in one.mixers.items()) <= 1e-10
    assert two.valid_score == one.valid_score


def forms(steps: Steps) -> set[object]:
    return {_form(steps[step]) for step in range(len(steps))}


def test_batches_have_few_shapes(model: AdaptedEncoder) -> None:
    """Texts of 3 to 14 tokens, 20 and 16 in a batch, of 4 members, of 3 when one is done."""
    requests = four(model, epochs=6, batch_size=20)
    for n, request in enumerate(requests):
        cut = tuple(unit[: 3 + (i + n) % 12] for i, unit in enumerate(request.train.inputs))
        requests[n] = replace(request, train=replace(request.train, inputs=cut))
    steps = [Steps(Lanes(Learner(model, requests).members, 4), None, None, even) for even in (False, True)]
    assert len(forms(steps[0])) > 4
    assert len(forms(steps[1])) <= 4


def test_only_rows_of_the_task_are_real(model: AdaptedEncoder) -> None:
    requests = [ask(model, LoRA(), task, seed=task, batch_size=20, epochs=1) for task in (0, 1, 3)]
    steps = Steps(Lanes(Learner(model, requests).members, 3), None, None, even=True)
    seen: dict[int, int] = {}
    for step in range(len(steps)):
        batch = steps[step]
        assert batch.real is not None
        assert batch.blocks is not None
        assert batch.member is not None
        assert batch.blocks.each == 20
        for member in batch.member[batch.real].tolist():
            seen[member] = seen.get(member, 0) + 1
    assert seen == {0: 96, 1: 96, 2: 48}


HOST = ("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "lift_fresh", "is_nonzero", "equal")
"""What reads a number of a tensor, makes a shape of its numbers, or brings one from the host."""


class Silent(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in HOST, f"{func} cannot be captured"
        return func(*args, **(kwargs or {}))


def silently(monkeypatch: pytest.MonkeyPatch, model: AdaptedEncoder, *requests: Learn) -> None:
    """Train so that from the third step on nothing of the host's is asked for."""
    steps, step = [0], EvenSteps.whole

    def watched(own: EvenSteps, *given: Any) -> Tensor:
        steps[0] += 1
        if steps[0] < 3:
            return step(own, *given)
        with Silent():
            return step(own, *given)

    monkeypatch.setattr(masking_utils, "is_tracing", lambda *given: True)  # as it is while a graph is captured
    monkeypatch.setattr(EvenSteps, "whole", watched)
    monkeypatch.setattr(trainer, "captures", lambda machine: True)
    found = trainer.learn(model, requests, Machine(group=4), tiny.QUIET)
    assert steps[0] > 6
    assert not any(learned.diverged for learned in found)


SITES = [name for name in folder.names("continual.method") if name not in ("full", "sparse", "head")]


@pytest.mark.parametrize("name", SITES)
def test_a_step_of_any_method_asks_the_host_for_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.adapted()
    silently(monkeypatch, model, ask(model, named(name, {}), 0), ask(model, LoRA(dropout=0.1), 1, seed=1))


@pytest.mark.parametrize("name", [n for n in folder.names("continual.composition") if composed(n, {}).lr is not None])
def test_nor_does_one_of_any_composition_that_learns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.adapted()
    modules = tuple(tiny.trained(named(kind, {}), model, n) for n, kind in enumerate(["bottleneck", "lora"]))
    silently(monkeypatch, model, replace(ask(model, LoRA()), adapters=modules, composition=composed(name, {})))


HEADS = (Classify(), Within((0, 0, 1)), Regress(), Multilabel(), Tag(), WithinTags((0, 0, 1)), Span())


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_nor_does_one_of_any_head_whose_rows_are_single_units(head: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.adapted()
    request, targets = ask(model, LoRA()), torch.arange(96) % 3
    if isinstance(head, Regress):
        targets = targets.float()
    elif isinstance(head, Multilabel):
        targets = torch.nn.functional.one_hot(targets)
    elif isinstance(head, Span):
        targets = torch.stack([targets, targets + 1], 1)
    elif head.reads == "tokens":
        targets = torch.stack([unit % 2 for unit in request.train.inputs])
    train = replace(request.train, kind=head.path(), targets=targets)
    params = head.init(model.width, 1 if isinstance(head, Regress) else 3, torch.Generator())
    learner = Learner(model, [replace(request, head=head, head_params=params, train=train)])
    assert learner.steady
    monkeypatch.setattr(Learner, "results", lambda self, seconds: [])  # the validation rows are of another head
    requests = replace(request, head=head, head_params=params, train=train)
    silently(monkeypatch, model, requests)


def test_what_looks_at_numbers_in_a_step_is_not_captured(model: AdaptedEncoder) -> None:
    plain = ask(model, LoRA())
    assert Learner(model, [plain]).steady
    for other in (staged(plain, Held()), ask(model, Full())):
        learner = Learner(model, [other])
        learner.features()
        assert not learner.steady


def test_graphs_are_for_gpus() -> None:
    assert not trainer.captures(Machine())
    assert not trainer.captures(Machine(gradient_checkpointing=True))
    with pytest.raises(ContinualError):
        Machine(accelerator="tpu")


def test_tags_of_several_members_are_learned_as_alone(model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences of different lengths: what is filled up has no tag."""
    requests = []
    for n in range(3):
        plain, head = ask(model, Bottleneck(8), n, seed=n, batch_size=20), Tag()
        inputs = tuple(unit[: 4 + (i + n) % 9] for i, unit in enumerate(plain.train.inputs))
        targets = [unit % 3 for unit in inputs]
        train = replace(plain.train, inputs=inputs, targets=targets, kind=head.path())
        params = {"weight": torch.randn(3, model.width).double(), "bias": torch.zeros(3).double()}
        requests.append(replace(plain, head=head, head_params=params, train=train))
    # The validation rows are of another head.
    monkeypatch.setattr(learner, "answers_together", lambda model, bank, asked: [[]] * len(asked))
    monkeypatch.setattr(Member, "_score", lambda self, said: 0.0)
    together = evenly(monkeypatch, model, requests, 3)
    for request, found in zip(requests, together, strict=True):
        assert apart(tiny.train(model, request)[0], found) <= 1e-10


def test_heads_on_states_that_were_computed_before_learn_what_they_learn_alone_by_steps_of_one_shape(
    model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of several lengths, which nobody reads any more; the last batch of an epoch is a short one."""
    requests = four(model, [HeadOnly()] * 4, epochs=3, batch_size=20)
    for request, found in zip(requests, evenly(monkeypatch, model, requests, 4), strict=True):
        assert apart(tiny.train(model, request)[0], found) <= 1e-10
    learner = Learner(model, requests[:1])
    assert len(forms(Steps(Lanes(learner.members, 1), learner.features(), None, even=True))) == 1


@pytest.mark.parametrize("even", [False, True])
def test_of_states_that_were_computed_before_no_text_or_pixel_is_put_together(even: bool) -> None:
    for family in ("bert", "vit"):
        model = tiny.adapted(family)
        request = ask(tiny.adapted(), HeadOnly(), batch_size=20, epochs=1)
        if family == "vit":
            pixels = tuple(torch.full((3, 16, 16), float(i)) for i in range(len(request.train.inputs)))
            request = replace(request, train=replace(request.train, inputs=pixels))
        learner = Learner(model, [request, request])
        pooled = [torch.arange(len(request.train.inputs))[:, None] * torch.ones(model.width)] * 2
        steps = Steps(Lanes(learner.members, 2), pooled, None, even)
        for step in range(len(steps)):
            batch = steps[step]
            assert batch.inputs.numel() == 0
            assert len(batch.inputs) == len(batch.row) == len(batch.step)  # type: ignore[arg-type]
            assert batch.pooled is not None
            rows = batch.pooled[:, 0].long()
            assert torch.equal(batch.row, request.train.row[rows])
            assert torch.equal(next(iter(batch.targets.values())), torch.as_tensor(request.train.targets)[rows])
