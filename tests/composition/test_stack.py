"""Modules one after the other: the second reads what the first left."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual.adapter import Adapter
from continual.composition.stack import Stack
from continual.encoder.adapted import AdaptedEncoder
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.lora import LoRA
from continual.method.parallel import Parallel
from tests import tiny


def outputs(model: AdaptedEncoder, adapters: list[Adapter], address: str) -> tuple[Tensor, Tensor]:
    """What a stack gives at a site, and the same by hand: the module called again for each adapter, under it alone."""
    x = torch.randn(2, 5, model.sites[address].shape.d_in, generator=torch.Generator().manual_seed(0)).double()
    Stack().install(model, adapters, seed=0)
    found = model.sites[address].mixer
    assert found is not None
    layer = model.encoder.encoder.layer[int(address[0])]
    module = layer.get_submodule(model.sites[address].place.path)
    return module(x), x


def chain(adapters: list[Adapter], address: str, x: Tensor, y: Tensor, norm: torch.nn.LayerNorm | None) -> Tensor:
    """Adapter by adapter, each with the site as the one before left it."""
    for adapter in adapters:
        delta = sum(piece.method.delta(piece.params, x, y) for piece in adapter.pieces(address))
        if norm is not None:
            x = x + delta
            y = F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        else:
            y = y + delta
    return y


NORM, LINEAR = "1/ffn_norm", "0/ffn_out"
AT_NORM, AT_LINEAR = {"targets": ("ffn_norm",)}, {"targets": ("ffn_out",)}
STACKS: dict[str, tuple[str, list[Described]]] = {
    "bottlenecks of other widths": (NORM, [Bottleneck(4), Bottleneck(16), Bottleneck(8)]),
    "other code paths between": (NORM, [Bottleneck(4), LoRA(rank=2, **AT_NORM), Bottleneck(8)]),
    "behind a linear": (LINEAR, [Bottleneck(4, **AT_LINEAR), LoRA(rank=2, **AT_LINEAR), Bottleneck(8, **AT_LINEAR)]),
    "a bundle's parts read the same": (
        LINEAR,
        [Bundle({"bottleneck": AT_LINEAR, "lora": {"rank": 2, **AT_LINEAR}}), Bottleneck(8, **AT_LINEAR)],
    ),
    "one": (NORM, [Bottleneck(4)]),
}


@torch.no_grad()
@pytest.mark.parametrize("case", STACKS)
def test_each_reads_what_those_before_it_left(case: str) -> None:
    address, methods = STACKS[case]
    model = tiny.adapted(dtype=torch.float64)
    adapters = [tiny.trained(method, model, seed) for seed, method in enumerate(methods)]
    found, x = outputs(model, adapters, address)
    model.load([])
    layer = model.encoder.encoder.layer[int(address[0])]
    module = layer.get_submodule(model.sites[address].place.path)
    norm = module if isinstance(module, torch.nn.LayerNorm) else None
    wanted = chain(adapters, address, x, module(x), norm)
    assert tiny.gap(found, wanted) <= 1e-12
    if len(adapters) > 1:
        assert tiny.gap(found, chain(adapters[::-1], address, x, module(x), norm)) > 1e-3  # the order counts


@torch.no_grad()
@pytest.mark.parametrize("kind", [LoRA(rank=2), Parallel()], ids=["lora", "parallel"])
def test_of_modules_that_read_the_input_the_stack_is_the_sum(kind: Described) -> None:
    """Where `adapters` lets the second LoRA read the first one's delta, and forgets all parallel adapters but one."""
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch()
    several = [tiny.trained(kind, model, seed) for seed in range(2)]
    Stack().install(model, several, seed=0)
    found = model(batch)
    for mixer in model.mixers().values():
        mixer.forward = lambda x, y, mask, parts: parts.deltas().sum(0)
    assert tiny.gap(found, model(batch)) <= 1e-12
    Stack().install(model, several[::-1], seed=0)
    assert tiny.gap(found, model(batch)) <= 1e-12


@torch.no_grad()
def test_at_a_linear_s_input_the_second_reads_the_first_one_s_sum() -> None:
    model = tiny.adapted(dtype=torch.float64)
    kinds = Bottleneck(4, targets=("ffn_act",)), LoRA(rank=2, targets=("ffn_act",)), Bottleneck(8, targets=("ffn_act",))
    adapters = [tiny.trained(kind, model, seed) for seed, kind in enumerate(kinds)]
    found, x = outputs(model, adapters, "0/ffn_act")
    module = model.encoder.encoder.layer[0].output.dense
    model.load([])
    for adapter in adapters:
        x = x + adapter.method.delta(adapter.params["0/ffn_act"], x, x)
    assert tiny.gap(found, module(x)) <= 1e-12
