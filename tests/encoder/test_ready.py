"""In a low precision each text with its own module reads slots that were made ready once, and never old ones."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from continual import folder
from continual.adapter import Adapter
from continual.encoder import wide
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Site
from continual.method import named
from continual.method.base import LowRank, Params
from continual.method.lora import LoRA
from tests import tiny

LOW_RANK = [name for name in folder.names("continual.method") if isinstance(named(name, {}), LowRank)]


class Named(LoRA):
    """LoRA by other names, those of the formulas."""

    coded = ("b",)

    def code(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return super().code({"a": p["b"]}, x, y)

    def up(self, p: Params) -> tuple[Tensor, None]:
        return p["U"] * p["scale"], None

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.linear(self.code(p, x, y), self.up(p)[0])


def modules(model: AdaptedEncoder, name: str, count: int):
    return [tiny.trained(named(name, {}), model, n) for n in range(count)]


def asked(model: AdaptedEncoder, members: list[int]) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return model(replace(tiny.batch(), member=torch.tensor(members))).float()


def low(model: AdaptedEncoder) -> Tensor:
    """Of the one module that is loaded."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return model(tiny.batch()).float()


def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows whenever slots are made ready."""
    calls: list[int] = []
    ready = wide.ready
    monkeypatch.setattr(wide, "ready", lambda *given: (calls.append(1), ready(*given))[1])
    return calls


@pytest.mark.parametrize("name", LOW_RANK)
def test_each_row_is_answered_as_by_its_module_alone(name: str) -> None:
    model = tiny.adapted()
    loaded, rows = modules(model, name, 3), len(tiny.batch().inputs)
    members = [(n + 1) % 3 for n in range(rows)]
    model.load(loaded)
    together = asked(model, members)
    alone = []
    for module in loaded:
        model.load([module])
        alone.append(low(model))
    wanted = torch.stack([alone[member][row] for row, member in enumerate(members)])
    assert tiny.gap(together, wanted) < 0.02
    assert tiny.gap(torch.stack([alone[0][row] for row in range(rows)]), wanted) > 0.05


def test_a_method_may_call_its_parameters_as_it_likes() -> None:
    model, rows = tiny.adapted(), len(tiny.batch().inputs)
    given = modules(model, "lora", 2)
    own = [
        Adapter(Named(), {at: {"b": p["a"], "U": p["b"], "scale": p["scale"]} for at, p in each.params.items()})
        for each in given
    ]
    members = [n % 2 for n in range(rows)]
    model.load(given)
    wanted = asked(model, members)
    model.load(own)
    assert torch.equal(asked(model, members), wanted)


def test_they_are_made_ready_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = tiny.adapted(), made(monkeypatch)
    model.load(modules(model, "lora", 2))
    first = asked(model, [0, 1] * (len(tiny.batch().inputs) // 2))
    sites = sum(len(site.stacks) for site in model.sites.values() if isinstance(site, Site))
    assert len(calls) == sites > 0
    assert torch.equal(asked(model, [0, 1] * (len(tiny.batch().inputs) // 2)), first)
    assert len(calls) == sites


def test_one_more_module_and_a_number_that_changed_are_read() -> None:
    model = tiny.adapted()
    loaded, rows = modules(model, "bottleneck", 3), len(tiny.batch().inputs)
    model.load(loaded[:2])
    old = asked(model, [1] * rows)
    assert model.add(loaded[2]) == 2
    new = asked(model, [2] * rows)
    model.load(loaded)
    assert torch.equal(asked(model, [2] * rows), new)
    assert torch.equal(asked(model, [1] * rows), old)
    with torch.no_grad():
        for site in model.sites.values():
            for group in site.stacks if isinstance(site, Site) else ():
                group.stack["up"][1].zero_()
    assert not torch.equal(asked(model, [1] * rows), old)
    assert torch.equal(asked(model, [2] * rows), new)


def test_slots_that_learn_are_read_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = tiny.adapted(), made(monkeypatch)
    model.load(modules(model, "lora", 2), train=[0, 1])
    asked(model, [0, 1] * (len(tiny.batch().inputs) // 2))
    assert not calls


@torch.no_grad()
def test_compiled_as_one_graph_they_are_read_as_they_are() -> None:
    torch._dynamo.reset()
    model, batch = tiny.adapted(), replace(tiny.batch(), member=torch.tensor([0, 1, 2, 0, 1, 2]))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for first in (0, 3):
        model.load([tiny.trained(named("bottleneck", {}), model, first + n) for n in range(3)])
        with torch.autocast("cpu", torch.bfloat16):
            assert tiny.gap(compiled(batch).float(), model(batch).float()) < 0.02


def test_what_was_made_ready_does_not_stay_behind_on_a_device_that_the_modules_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[weakref.ref[Tensor]] = []
    ready = wide.ready

    def noted(*given: Any) -> Params:
        found = ready(*given)
        kept.extend(weakref.ref(tensor) for tensor in found.values())
        return found

    monkeypatch.setattr(wide, "ready", noted)
    model = tiny.adapted()
    model.load(modules(model, "lora", 2))
    asked(model, [0, 1] * (len(tiny.batch().inputs) // 2))
    assert kept
    assert all(each() is not None for each in kept)
    model.to("meta")
    assert all(each() is None for each in kept)
