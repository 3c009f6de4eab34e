"""Who trains when: a lane that is free is taken by the next that waits, and nothing that is learned depends on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from continual import drive, trainer
from continual.adamw import StackedAdamW
from continual.adapter import flatten
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.lanes import Lanes
from continual.member import Member
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.lora import LoRA
from continual.request import Learn, Learned, Recipe
from continual.session import Session
from continual.strategy.sequential import Sequential
from continual.trainer import Machine
from tests import running, tiny
from tests.test_learner import apart, ask, four


@dataclass(eq=False)
class Counted:
    """Of a member what lanes ask for."""

    batches: list[None]
    last: int
    start: int | None = 0
    stopped: bool = False

    trains, over = Member.trains, Member.over


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5), st.data())
def test_each_member_trains_all_its_steps_in_its_turn_and_lanes_are_never_left_free(
    lengths: list[int], count: int, data: st.DataObject
) -> None:
    ends = [data.draw(st.integers(1, length)) for length in lengths]  # where it stops early, or all of it
    members = [Counted([None] * length, end) for length, end in zip(lengths, ends, strict=True)]
    lanes = Lanes(members, count)  # type: ignore[arg-type]
    bound, trained = lanes.steps, [0] * len(members)
    for step in range(bound):
        live = lanes.at(step)
        waiting = [m for m in members if m.start is None]
        assert len(live) <= count
        assert len(live) == count or not waiting
        for member in live:
            trained[members.index(member)] += 1  # type: ignore[arg-type]
            member.stopped = step + 1 - (member.start or 0) == member.last < len(member.batches)  # type: ignore
        if all(m.over(step + 1) for m in members):
            break
    assert trained == ends
    starts = [m.start for m in members]
    assert starts == sorted(starts)  # in the order of the requests


@pytest.fixture
def model() -> AdaptedEncoder:
    return tiny.adapted(dtype=torch.float64)


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_members_that_wait_learn_what_they_learn_alone(model: AdaptedEncoder, lanes: int) -> None:
    """With different lengths, rates, dropout, and one that stops early."""
    requests = [ask(model, Bottleneck(8), 2, seed=9, epochs=2), *four(model, epochs=4)]
    requests[2] = replace(requests[2], recipe=replace(requests[2].recipe, patience=1))
    together = trainer.learn(model, requests, Machine(group=lanes), tiny.QUIET)
    for request, found in zip(requests, together, strict=True):
        assert apart(tiny.train(model, request)[0], found) <= 1e-10


def test_a_member_that_diverges_makes_way(model: AdaptedEncoder) -> None:
    requests = four(model)
    bad = replace(requests[0], lr=1e200, recipe=replace(requests[0].recipe, clip=None))
    found = trainer.learn(model, [bad, *requests[1:]], Machine(group=1), tiny.QUIET)
    assert found[0].diverged
    for request, learned in zip(requests[1:], found[1:], strict=True):
        assert apart(tiny.train(model, request)[0], learned) <= 1e-10


def test_every_slot_steps_as_torchs_own_optimizer_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that begins later, one that pauses at a gradient that is not a number, each at its own rate."""
    rng = torch.Generator().manual_seed(0)
    start = [torch.randn(3, 4, 5, generator=rng).double(), torch.randn(3, 2, generator=rng).double()]
    together = [nn.Parameter(t.clone()) for t in start]
    alone = [[nn.Parameter(t[slot].clone()) for t in start] for slot in range(3)]
    ours = StackedAdamW([(p, (2, 0, 1)) for p in together], 3, weight_decay=0.1)
    theirs = [torch.optim.AdamW(own, weight_decay=0.1) for own in alone]
    for step in range(12):
        gradients = [torch.randn(t.shape, generator=rng).double() for t in start]
        rates = [0.01, 0.0 if step < 5 else 0.1 / (step + 1), 0.03 * (step < 9)]  # of members 0, 1, 2
        for slot, member in enumerate((2, 0, 1)):
            for own, gradient in zip(alone[slot], gradients, strict=True):
                own.grad = gradient[slot].clone()
                norm = torch.cat([g[slot].flatten() for g in gradients]).norm()
                own.grad.mul_((2.0 / (norm + 1e-6)).clamp_max(1.0))
            if rates[member]:
                theirs[slot].param_groups[0]["lr"] = rates[member]
                theirs[slot].step()
        if step >= 9:
            gradients[0][0] = torch.nan  # of member 2, which has stopped
        for parameter, gradient in zip(together, gradients, strict=True):
            parameter.grad = gradient.clone()
        ours.gather(torch.tensor([2.0] * 3), torch.tensor(rates, dtype=torch.float64))
        ours.step()
        for slot in range(3):
            for parameter, own in zip(together, alone[slot], strict=True):
                assert torch.allclose(parameter[slot], own, rtol=1e-12, atol=1e-12), (step, slot)


def test_a_parameter_without_a_gradient_stays_as_it_is() -> None:
    used, unused = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))
    optimizer = StackedAdamW([(used, (0, 1)), (unused, (0, 1))], 2, weight_decay=0.5)
    used.grad = torch.ones(2, 3)
    optimizer.gather(torch.ones(2), torch.full((2,), 0.1))
    optimizer.step()
    assert torch.equal(unused, torch.ones(2, 3))
    assert not torch.equal(used, torch.ones(2, 3))


# In a run


def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the requests that are answered together."""
    seen: list[list[str]] = []

    def watched(model: AdaptedEncoder, requests: list[Learn], *rest: object) -> list[Learned]:
        seen.append([request.name for request in requests])
        return trainer.learn(model, requests, *rest)

    monkeypatch.setattr(drive, "learn", watched)
    return seen


def test_an_isolated_stream_is_learned_together_and_its_record_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = asked(monkeypatch)
    given = {"method": LoRA(dropout=0.1), "recipe": Recipe(epochs=2, batch_size=8)}
    one, two = (running.run(tmp_path / str(n), machine=Machine(group=n), **given) for n in (1, 2))
    assert seen == [["learn/toy-0"], ["learn/toy-1"], ["learn/toy-2"], ["learn/toy-0", "learn/toy-1", "learn/toy-2"]]
    assert one.id == two.id
    assert [cell.score for cell in one.cells] == [cell.score for cell in two.cells]
    for a, b in zip(one.modules, two.modules, strict=True):
        assert (a.name, a.steps, a.trainable, a.status) == (b.name, b.steps, b.trainable, b.status)


@pytest.mark.parametrize("changes", [{"strategy": Sequential()}, {"method": Full()}], ids=str)
def test_what_depends_on_what_came_before_or_stands_alone_is_learned_one_by_one(
    changes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = asked(monkeypatch)
    running.run(tmp_path, machine=Machine(group=4), **changes)
    assert [len(names) for names in seen] == [1, 1, 1]


def test_a_run_that_was_stopped_in_a_group_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"machine": Machine(group=4)}
    whole = running.results(running.run(tmp_path / "whole", **given))
    keep, calls = Session.keep, []

    def until_second(*arguments: object) -> object:
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return keep(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "keep", until_second)
    with pytest.raises(KeyboardInterrupt):
        running.run(tmp_path / "stopped", **given)
    monkeypatch.setattr(Session, "keep", keep)
    seen = asked(monkeypatch)
    again = running.results(running.run(tmp_path / "stopped", **given))
    assert seen == [["learn/toy-1", "learn/toy-2"]]
    assert [c["score"] for c in again["cells"]] == [c["score"] for c in whole["cells"]]


def test_a_group_of_none_is_refused() -> None:
    for group in (0, "all"):
        with pytest.raises(ContinualError, match=rf"trainer\.group must be auto, or at least 1, got {group}"):
            Machine(group=group)


def test_states_of_members_are_theirs() -> None:
    model = tiny.adapted()
    requests = [ask(model, LoRA(rank=2), task, seed=task) for task in range(2)]
    found = trainer.learn(model, requests, Machine(group=1), tiny.QUIET)
    assert not tiny.equal(found[0].adapter.params, found[1].adapter.params)
    assert flatten(found[0].adapter.params).keys() == flatten(found[1].adapter.params).keys()
