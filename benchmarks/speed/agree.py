"""Whether two sides compute the same: pooled states, and the gradients by every trained tensor."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from continual.adapter import Adapter

CLOSE = 1e-4
"""Largest relative difference, in float32: each side sums in an order of its own."""
LINEARS = {"down": "adapter_down.0.weight", "down_bias": "adapter_down.0.bias"}
LINEARS |= {"up": "adapter_up.weight", "up_bias": "adapter_up.bias"}


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, float]:
    """Relative to their norm: of the pooled states, and of the worst gradient (of those that are there)."""
    if ours.keys() != theirs.keys():
        raise KeyError(f"answers that only one of two gives: {sorted(ours.keys() ^ theirs.keys())[:4]}")
    apart = {name: float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in ours}
    return {"output": apart.pop("pooled"), **({"gradient": max(apart.values())} if apart else {})}


def require(what: str, apart: Mapping[str, float]) -> dict[str, float]:
    """Raises ArithmeticError where one is not close, so that nothing is timed."""
    if not all(value < CLOSE for value in apart.values()):
        raise ArithmeticError(f"{what}: other answers than the plain form's: {dict(apart)}")
    return dict(apart)


def in_adapters(adapter: Adapter, name: str) -> dict[str, Tensor]:
    """The tensors of a bottleneck or a LoRA by the names that AdapterHub's library has for them."""
    found = {}
    for address, own in adapter.params.items():
        layer, site = address.split("/")
        for key, tensor in own.items():
            if key in LINEARS:
                found[f"encoder.layer.{layer}.output.adapters.{name}.{LINEARS[key]}"] = tensor
            elif key in ("a", "b"):
                found[f"encoder.layer.{layer}.attention.self.{site}.loras.{name}.lora_{key.upper()}"] = tensor
    return {key: tensor.contiguous() for key, tensor in found.items()}


def in_peft(adapter: Adapter, name: str) -> dict[str, Tensor]:
    """The tensors of a LoRA by the names that ``peft`` has for them."""
    found = {}
    for address, own in adapter.params.items():
        layer, site = address.split("/")
        place = f"base_model.model.encoder.layer.{layer}.attention.self.{site}"
        found |= {f"{place}.lora_{key.upper()}.{name}.weight": own[key].contiguous() for key in ("a", "b")}
    return found
