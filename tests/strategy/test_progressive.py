"""Progressive prompts: what stands where, what is held, and what becomes of it where there is no room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from continual.adapter import EMBEDDING, Adapter, fresh
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.learner import Learner
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.prefix import Prefix
from continual.method.prefix_mlp import PrefixMLP
from continual.method.prompt import Prompt
from continual.recalled import recall
from continual.request import Recipe
from continual.store.store import Store
from continual.strategy.base import Stage
from continual.strategy.progressive import Progressive
from tests import running, tiny
from tests.strategy import lab

QUICK = Recipe(lr=0.02, epochs=1, batch_size=8)


def stage(*past: Adapter | None) -> Stage:
    nothing: Any = None
    tasks = tuple(lab.stream(tasks=len(past) + 1).tasks)
    return Stage(tasks, past, {}, encode=nothing, bare=nothing, seed=0, one_head=False)


def new(model: AdaptedEncoder, method: Described, seed: int = 7) -> Adapter:
    return fresh(method, model.shapes, model.weights, seed, model.absent)


@pytest.mark.parametrize(
    ("method", "names"), [(Prompt(length=2), ("prompt",)), (Prefix(length=2), ("key", "value"))], ids=lambda m: str(m)
)
def test_the_new_one_stands_in_front_and_the_old_ones_are_held_bit_by_bit(
    method: Prompt | Prefix, names: tuple[str, ...]
) -> None:
    model, strategy = tiny.adapted(), Progressive()
    first = new(model, method)
    assert strategy.start(first, stage()) is first
    second = strategy.start(new(model, method, 1), stage(tiny.trained(method, model, 2)))
    past = stage(first, second, None)  # the third has diverged
    third = strategy.start(new(model, method, 3), past)
    assert third.method == replace(method, length=6)
    learner = Learner(model, [tiny.request(model, third, weight_decay=0.5)])
    rule = strategy.rule(learner.members[0], past)
    for parameter, _ in learner.slots.stacked:
        parameter.grad = torch.full_like(parameter, 2.0)
    rule.gradients()
    learner.slots.step(learner.slots.optimizer(0.5), [0.1])
    rule.stepped()
    for address, p in model.take().params.items():
        for name in names:
            assert torch.equal(third.params[address][name][:2], new(model, method, 3).params[address][name])
            assert torch.equal(p[name][2:], second.params[address][name])
            assert bool((p[name][:2] != third.params[address][name][:2]).all())
    assert rule.held() == second.size


def test_each_task_is_answered_by_its_own_module_and_nothing_is_forgotten(tmp_path: Path) -> None:
    record = lab.run(
        tmp_path, strategy=Progressive(), method=Prompt(length=2), recipe=QUICK, stream=lab.stream(rows=16)
    )
    found = [recall(Store(tmp_path / "store"), m.digest, lab.encoder()).adapters[0] for m in record.modules]
    rows = [adapter.params[EMBEDDING]["prompt"] for adapter in found]
    assert [len(vectors) for vectors in rows] == [2, 4, 6]
    assert torch.equal(rows[2][2:], rows[1])
    assert torch.equal(rows[1][2:], rows[0])
    cells = lab.cells(record)
    assert all(cells[2, task].score == cells[task, task].score for task in range(3))
    assert len({module.trainable for module in record.modules}) == 1


def test_a_stream_whose_prompts_will_not_fit_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    """Three prompts of 6 before 48 tokens are more than 64 positions; two would have fitted."""
    with pytest.raises(ContinualError, match=r"a prompt of 18 vectors before texts .*more than the encoder's 64 pos"):
        lab.run(tmp_path, strategy=Progressive(), method=Prompt(length=6), stream=lab.stream(rows=16))
    assert not list(tmp_path.rglob("ledger.jsonl"))
    assert not list(tmp_path.rglob("adapter.safetensors"))


@pytest.mark.parametrize("method", [Bottleneck(), PrefixMLP()], ids=lambda m: type(m).__name__)
def test_another_method_is_refused_when_the_run_is_built(method: Described, tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match=r"expected method=prompt or method=prefix, got method=(bot|prefix_mlp)"):
        running.parts(tmp_path, strategy=Progressive(), method=method)
