"""A module by its formula, in hooks on a bare BERT: what every benchmark holds its answers against before it times.

Nothing of the package's encoder is used: no site, no stack, no fused product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.adapter import Adapter, Params
from continual.encoder.pool import mean_pool

WHERE = {
    "ffn_norm": "output.LayerNorm",
    "query": "attention.self.query",
    "value": "attention.self.value",
}
Hook = Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]


def pooled(model: nn.Module, adapter: Adapter, ids: Tensor, mask: Tensor) -> Tensor:
    """(B, d) means over the tokens of each text, under a bottleneck (Pfeiffer's) or a LoRA of queries and values."""
    with attached(model, adapter.params):
        return mean_pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask)


@contextmanager
def attached(model: nn.Module, params: Mapping[str, Params]) -> Iterator[None]:
    handles = []
    for address, own in params.items():
        layer, site = address.split("/")
        module = model.get_submodule(f"encoder.layer.{layer}.{WHERE[site]}")
        handles.append(module.register_forward_hook(lora(own) if "a" in own else bottleneck(own)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def bottleneck(p: Params) -> Hook:
    """LN(x + scale · (relu(y Dᵀ + d) Uᵀ + u)), y = LN(x)."""

    def hook(norm: nn.LayerNorm, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
        code = torch.relu(y @ p["down"].T + p["down_bias"])
        changed = args[0] + p["scale"] * (code @ p["up"].T + p["up_bias"])
        return F.layer_norm(changed, norm.normalized_shape, norm.weight, norm.bias, norm.eps)

    return hook


def lora(p: Params) -> Hook:
    """y + alpha/rank · x Aᵀ Bᵀ."""
    return lambda module, args, y: y + p["scale"] * (args[0] @ p["a"].T @ p["b"].T)
