"""What a stored module changes, as a vector: merging adds, trims and averages these."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.method.base import Params
from continual.method.lora import LoRA

Vector = dict[str, Tensor]
"""By "<layer>/<site>/<parameter>", the keys on disk."""


def vector(adapter: Adapter) -> Vector:
    """What a module changes, in float32 at least: its parameters, but of a LoRA the matrix ΔW = α/r · B A, as ``b``.

    A's and B's own sums mean nothing: (A₁ + A₂)(B₁ + B₂) has the cross terms B₁A₂ and B₂A₁, which are of no task, and
    factors are told apart by no answer (A and B may be turned against each other). Parameters that a method keeps
    fixed are left out. Those of IA³, BitFit and the weight methods are differences to the bare encoder, and linear:
    the vector is the task vector of Ilharco et al. 2023. A bottleneck, a Compacter, a prefix and a prompt are not
    linear in their parameters; their vector is a point among weights, whose averages are weight averages.
    """
    return {
        f"{address}/{name}": tensor
        for address, params in _each(adapter, dense=False).items()
        for name, tensor in params.items()
    }


def dense(adapter: Adapter) -> Adapter:
    """The same module with its vector for parameters: a LoRA with A = I and B = ΔW, so that ∂/∂B is ∂/∂ΔW."""
    return Adapter(adapter.method, _each(adapter, dense=True))


def of_part(params: Mapping[str, Params], part: str) -> dict[str, Params]:
    """What a part of a bundle has of these, under its own names."""
    mine = {
        address: {name[len(part) + 1 :]: tensor for name, tensor in own.items() if name.startswith(f"{part}.")}
        for address, own in params.items()
    }
    return {address: own for address, own in mine.items() if own}


def exact(tensor: Tensor) -> Tensor:
    """A tensor of any shape in float32 at least: bfloat16 has too few digits for sums over modules."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _each(adapter: Adapter, *, dense: bool) -> dict[str, Params]:
    found: dict[str, Params] = {}
    for address in adapter.params:
        for part, method, params in adapter.pieces(address):
            if isinstance(method, LoRA):
                change = exact(params["b"]) @ exact(params["a"]) * exact(params["scale"])
                own = {"b": change}
                if dense:
                    like = params["a"]
                    eye = torch.eye(like.shape[1], dtype=like.dtype, device=like.device)
                    own = {"a": eye, "b": change.to(like), "scale": torch.ones_like(params["scale"])}
            else:
                own = params if dense else {n: exact(t) for n, t in params.items() if n not in method.fixed}
            prefix = f"{part}." if part else ""
            found.setdefault(address, {}).update({f"{prefix}{name}": tensor for name, tensor in own.items()})
    return found
