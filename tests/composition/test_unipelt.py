"""UniPELT's gates: one number per module, site and text, whatever pads the text."""

from __future__ import annotations

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.composition.base import Mixer
from continual.composition.unipelt import UniPELT
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Site
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from tests import tiny

from .mixing import STACKS, ByHand, adapters, scatter


def naive(mixer: Mixer, site: Site, x: Tensor, y: Tensor, mask: Tensor, deltas: list[Tensor]) -> Tensor:
    """Row by row, module by module, token by token."""
    rows = []
    for row in range(len(mask)):
        total = torch.zeros_like(y[row])
        for member, delta in enumerate(deltas):
            method, weight, bias = gate_of(mixer, site, member)
            read = x if method.reads == "x" else y
            tokens = [float((read[row, t] @ weight + bias).sigmoid()) for t in range(mask.shape[1]) if mask[row, t]]
            total += sum(tokens) / len(tokens) * delta[row]
        rows.append(total)
    return torch.stack(rows)


def gate_of(mixer: Mixer, site: Site, member: int) -> tuple[object, Tensor, Tensor]:
    for group, weight, bias in zip(site.groups, mixer.weight, mixer.bias, strict=True):
        if member < len(group.owners):
            return group.method, weight[member], bias[member]
        member -= len(group.owners)
    raise IndexError(member)


@torch.no_grad()
def test_gates_are_the_mean_over_the_tokens_of_each_text() -> None:
    batch = tiny.batch(rows=4, tokens=6, short=3)
    for stack in STACKS:
        model = tiny.adapted(dtype=torch.float64)
        UniPELT().install(model, adapters(model, stack), seed=1)
        scatter(model)
        found = model(batch)
        with ByHand(model, naive):
            assert tiny.gap(model(batch), found) <= 1e-10


def pair(model: AdaptedEncoder) -> list[Adapter]:
    kinds = Bottleneck(8), LoRA(rank=4), LoRA(rank=2, targets=("ffn_norm",))
    return [tiny.trained(method, model) for method in kinds]


@torch.no_grad()
def test_gates_start_near_one_half_and_stay_between_zero_and_one() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    UniPELT().install(model, pair(model), seed=1)
    seen: list[Tensor] = []
    for mixer in model.mixers().values():
        mixer.register_forward_hook(lambda module, args, _: seen.append(module.weights(*args)))
    model(batch)
    assert len(seen) == 2 * 3
    for gates, n in zip(seen, [1, 1, 2] * 2, strict=True):
        assert gates.shape == (6, 1, n)
        assert ((gates - 0.5).abs() < 0.1).all()
    seen.clear()
    scatter(model)
    model(batch)
    assert all(((gates > 0) & (gates < 1)).all() for gates in seen)


@torch.no_grad()
def test_a_gate_multiplies_what_was_stored_alpha_and_all() -> None:
    """With every gate near one, the modules act together as they were trained."""
    model, batch = tiny.adapted(), tiny.batch()
    one = [tiny.trained(LoRA(rank=4, alpha=32.0), model)]
    model.load(one)
    wanted = model(batch)
    UniPELT().install(model, one, seed=1)
    for mixer in model.mixers().values():
        for bias in mixer.bias:
            bias.fill_(30.0)
    assert tiny.gap(model(batch), wanted) <= 1e-5
