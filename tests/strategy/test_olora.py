"""O-LoRA: its rule against sums written out here; what is old stays; the sum of all LoRAs is one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from continual.adapter import Adapter, fresh
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.learner import Learner
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.recalled import recall
from continual.report.record import Record
from continual.request import Recipe
from continual.store.store import Store
from continual.strategy.base import Rule, Stage
from continual.strategy.olora import OLoRA
from tests import running, tiny
from tests.strategy import lab

METHOD = LoRA(rank=2, alpha=6.0)


def stage(*past: Adapter | None) -> Stage:
    nothing: Any = None
    tasks = tuple(lab.stream(tasks=len(past) + 1).tasks)
    return Stage(tasks, past, {}, encode=nothing, bare=nothing, seed=0, one_head=False)


def new(model: AdaptedEncoder, seed: int = 7, method: LoRA = METHOD) -> Adapter:
    return fresh(method, model.shapes, model.weights, seed, model.absent)


def begun(model: AdaptedEncoder, older: Adapter, strategy: OLoRA, **recipe: Any) -> tuple[Learner, Rule]:
    """A learner of a second task's module, and its rule."""
    learner = Learner(model, [tiny.request(model, strategy.start(new(model), stage(older)), **recipe)])
    return learner, strategy.rule(learner.members[0], stage(older))


def test_a_task_begins_with_a_lora_of_its_own_in_front_of_the_old_ones_and_with_their_function() -> None:
    model = tiny.adapted()
    older = tiny.trained(METHOD, model)
    fresh_one = new(model)
    assert OLoRA().start(fresh_one, stage()) is fresh_one
    started = OLoRA().start(fresh_one, stage(older, None))  # the second has diverged
    assert started.method == LoRA(rank=4, alpha=12.0)
    for address, p in started.params.items():
        own, old = fresh_one.params[address], older.params[address]
        assert torch.equal(p["a"], torch.cat([own["a"], old["a"]]))
        assert torch.equal(p["b"], torch.cat([own["b"], old["b"]], 1))
        assert float(p["scale"]) == float(old["scale"]) == 3.0
    said = []
    for adapter in (older, started):
        model.load([adapter])
        said.append(model(tiny.batch()))
    assert tiny.gap(*said) < 1e-5


def test_a_rank_stabilized_scale_stays_too() -> None:
    model, method = tiny.adapted(), LoRA(rank=2, alpha=6.0, rank_stabilized=True)
    third = OLoRA().start(
        new(model, 1, method), stage(OLoRA().start(new(model, 2, method), stage(new(model, 3, method))))
    )
    grown = third.method
    assert isinstance(grown, LoRA)
    assert grown.rank == 6
    assert new(model, 0, grown).params["0/query"]["scale"] == pytest.approx(6 / 2**0.5)
    assert float(third.params["0/query"]["scale"]) == pytest.approx(6 / 2**0.5)


def test_the_penalty_is_the_sum_of_absolute_products_of_new_and_old_directions() -> None:
    """Of one site: A_new = (1 0 -2 …), (0 1 0 …); A_old = (3 1 0 …), (0 0 1 …): |3| + |-2| + |1| + |0|."""
    model = tiny.adapted()
    method = LoRA(rank=2, targets=("query",), layers="1")

    def directions(rows: list[list[float]]) -> Adapter:
        adapter = new(model, 0, method)
        a = torch.zeros_like(adapter.params["1/query"]["a"])
        a[:, :3] = torch.tensor(rows)
        return Adapter(method, {"1/query": adapter.params["1/query"] | {"a": a}})

    older = directions([[3.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    strategy = OLoRA(strength=0.5)
    start = strategy.start(directions([[1.0, 0.0, -2.0], [0.0, 1.0, 0.0]]), stage(older))
    learner = Learner(model, [tiny.request(model, start)])
    member = learner.members[0]
    penalty = strategy.rule(member, stage(older)).penalty(torch.tensor([]), torch.tensor([]))
    assert isinstance(penalty, torch.Tensor)
    assert float(penalty.detach()) == 0.5 * 6.0
    pulls = dict(zip([own.name for own in member.parameters()], member.gradients_of(penalty), strict=True))
    pull = pulls["module/1/query/a"]
    assert pull is not None
    assert pull[:, :3].tolist() == [[1.5, 0.5, -0.5], [1.5, 0.5, 0.0], [0.0] * 3, [0.0] * 3]  # λ Σ sign(·) A_old


def test_a_first_task_has_no_penalty_and_holds_nothing() -> None:
    model = tiny.adapted()
    learner = Learner(model, [tiny.request(model, new(model))])
    rule = OLoRA().rule(learner.members[0], stage())
    assert rule.penalty(torch.tensor([]), torch.tensor([])) == 0.0
    assert rule.held() == 0


def test_old_parts_have_no_gradient_and_stay_bit_by_bit_though_decay_would_move_them() -> None:
    model = tiny.adapted()
    older = tiny.trained(METHOD, model)
    learner, rule = begun(model, older, OLoRA(), weight_decay=0.5)
    for parameter, _ in learner.slots.stacked:
        parameter.grad = torch.full_like(parameter, 2.0)
    rule.gradients()
    for own in learner.members[0].parameters():
        assert own.gradient is not None
        if own.name.startswith("module/"):
            mine, old = own.gradient.split(2, dim=1 if own.name.endswith("/b") else 0)
            assert bool((mine == 2).all())
            assert not old.any()
        else:
            assert bool((own.gradient == 2).all())
    learner.slots.step(learner.slots.optimizer(0.5), [0.1])
    assert not torch.equal(learner.model.take().params["0/query"]["a"][2:], older.params["0/query"]["a"])
    rule.stepped()
    for address, p in learner.model.take().params.items():
        assert torch.equal(p["a"][2:], older.params[address]["a"])
        assert torch.equal(p["b"][:, 2:], older.params[address]["b"])
        assert bool((p["b"][:, :2] != 0).all())
    assert rule.held() == older.size


def test_beside_a_wider_module_the_same_part_is_held() -> None:
    """In a group narrower modules are padded: what is old ends before the padding."""
    model = tiny.adapted()
    older, strategy = tiny.trained(METHOD, model), OLoRA()
    wide = tiny.request(model, new(model, 3, LoRA(rank=7, alpha=6.0)))
    learner = Learner(model, [tiny.request(model, strategy.start(new(model), stage(older))), wide])
    rule = strategy.rule(learner.members[0], stage(older))
    for parameter, _ in learner.slots.stacked:
        parameter.grad = torch.full_like(parameter, 2.0)
    rule.gradients()
    kept = [own.gradient for own in learner.members[0].parameters() if own.name.endswith("/a")]
    assert all(g is not None and g[:, 0].tolist() == [2, 2, 0, 0, 2, 2, 2] for g in kept)
    assert all(bool((own.gradient == 2).all()) for own in learner.members[1].parameters() if own.gradient is not None)


def modules(root: Path, strategy: OLoRA, **more: Any) -> tuple[list[Adapter], Record]:
    """Of a run of three tasks, read back from the store."""
    quick = Recipe(lr=0.02, epochs=3, batch_size=8)
    record = lab.run(root, strategy=strategy, method=METHOD, recipe=quick, stream=lab.stream(rows=16), **more)
    store = Store(root / "store")
    return [recall(store, m.digest, lab.encoder()).adapters[0] for m in record.modules[:3]], record


def test_modules_of_a_run_hold_the_earlier_ones_are_turned_apart_and_can_be_fused(tmp_path: Path) -> None:
    free, _ = modules(tmp_path / "free", OLoRA(strength=0.0))
    apart, record = modules(tmp_path / "apart", OLoRA(), compositions=(Fusion(),))
    assert record.status == "finished"
    assert [adapter.method for adapter in apart] == [LoRA(rank=2 * t, alpha=6.0 * t) for t in (1, 2, 3)]
    for before, after in pairwise(adapter.params["0/query"] for adapter in apart):
        assert torch.equal(after["a"][2:], before["a"])
        assert torch.equal(after["b"][:, 2:], before["b"])
        assert after["scale"] == before["scale"]
    assert len({m.trainable for m in record.modules[:3]}) == 1  # what is held is not trained
    products = [(a[2].params["0/query"]["a"][:2] @ a[2].params["0/query"]["a"][2:].T) for a in (apart, free)]
    assert float(products[0].abs().sum()) < 0.5 * float(products[1].abs().sum())
    assert [m.method for m in record.modules if m.kind == "composition"] == ["fusion"]
    assert record.modules_unchanged


def test_another_method_and_a_negative_strength_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match=r"expected method=lora, got method=bottleneck; choose method=lora"):
        running.parts(tmp_path, strategy=OLoRA(), method=Bottleneck())
    with pytest.raises(ContinualError, match=r"strategy\.strength of 0 or more, got -1"):
        OLoRA(strength=-1.0)
