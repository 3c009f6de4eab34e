"""What the merging tests share: modules as after training, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from continual.adapter import WEIGHTS, Adapter, fresh, generator
from continual.encoder.adapted import AdaptedEncoder
from continual.merging.base import Merging
from continual.method.base import Described
from continual.method.bitfit import BitFit
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.compacter import Compacter
from continual.method.full import Full
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.method.parallel import Parallel
from continual.method.prefix import Prefix
from continual.method.prompt import Prompt
from continual.method.sparse import Sparse
from continual.space.vector import Vector, vector
from tests import tiny

LINEAR: dict[str, Any] = {
    "lora": LoRA(rank=3, alpha=5.0),
    "ia3": IA3(),
    "bitfit": BitFit(),
    "full": Full(),
    "sparse": Sparse(density=0.05, rule="random"),
}
CURVED: dict[str, Any] = {
    "bottleneck": Bottleneck(8),
    "parallel": Parallel(8, learn_scale=True),
    "compacter": Compacter(8),
    "bundle": Bundle({"bottleneck": {"reduction_factor": 8.0}, "lora": {"rank": 2}}),
    "prefix": Prefix(4),
    "prompt": Prompt(3),
}
"""Methods that are not linear in their parameters: they can be averaged, and no more."""
METHODS = LINEAR | CURVED
AVERAGES = ("arithmetic", "mean", "fisher")
"""The merging rules that do this."""


def module(model: AdaptedEncoder, method: Described, seed: int = 0) -> Adapter:
    """Every parameter far from its start, but for those that the method, or a bundle's part, keeps fixed."""
    start = fresh(method, model.shapes, model.weights, seed)
    moved = tiny.trained(method, model, seed)
    fixed = {
        (address, f"{part}.{name}" if part else name)
        for address in start.params
        for part, kind, params in start.pieces(address)
        for name in params
        if name in kind.fixed
    }
    kept = {
        address: {name: start.params[address][name] if (address, name) in fixed else t for name, t in params.items()}
        for address, params in moved.params.items()
    }
    return Adapter(method, kept)


def several(model: AdaptedEncoder, method: Described, count: int = 3) -> list[Adapter]:
    return [module(model, method, seed) for seed in range(count)]


def merge(merging: Merging, adapters: Sequence[Adapter]) -> Adapter:
    """With Fishers drawn at random, where it wants any; they belong to the module, whatever its place."""
    return merging.merge(adapters, [drawn(adapter) for adapter in adapters] if merging.rows else ())


def drawn(adapter: Adapter) -> Vector:
    rng = generator(0, adapter.digest())
    return {key: torch.rand(t.shape, generator=rng) for key, t in vector(adapter).items()}


@torch.no_grad()
def says(model: AdaptedEncoder, adapter: Adapter | None) -> Tensor:
    """What the encoder answers under it, or bare."""
    model.load([adapter] if adapter else [])
    return model(tiny.batch())


def scaled(adapter: Adapter, factor: float) -> Adapter:
    """λ τ by hand, of a linear method."""
    names = {"b", "shift", "bias", "value"}
    params = {
        address: {n: t * factor if n in names or (address == WEIGHTS and n != "index") else t for n, t in own.items()}
        for address, own in adapter.params.items()
    }
    return replace(adapter, params=params)
