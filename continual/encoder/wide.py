"""The slots of a low-rank group as other code reads them: side by side for rank space, one by one for routing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from continual.method.base import LowRank, Params

UP, BIAS = "code · Uᵀ", "+ b"
"""Of a slot that is ``ready``, beside what ``code`` reads: no parameter is called so, since a method names its own."""


class Wide(NamedTuple):
    """N low-rank adapters as one of rank N·r.

    coded  what ``LowRank.code`` reads, N·r rows each
    up     U of all, (N·r, d_out): its row n·r + i is column i of U_n
    bias   b of all, (N, d_out); None where the method has none
    """

    coded: Params
    up: Tensor
    bias: Tensor | None

    def tensors(self) -> dict[str, Tensor]:
        """By a name each; ``named`` takes them back."""
        bias = {} if self.bias is None else {"bias": self.bias}
        return {**{f"coded_{name}": tensor for name, tensor in self.coded.items()}, "up": self.up, **bias}

    def to(self, dtype: torch.dtype) -> Wide:
        """A copy, for inference and training alike wherever it is made."""
        with torch.inference_mode(False), torch.no_grad():
            bias = None if self.bias is None else self.bias.to(dtype)
            return Wide({name: tensor.to(dtype) for name, tensor in self.coded.items()}, self.up.to(dtype), bias)


def ready(method: LowRank, stack: Params, dtype: torch.dtype) -> Params:
    """Frozen slots as routing reads them, in ``dtype``: what ``code`` asks for, U and b, all with the N slots first."""
    with torch.inference_mode(False), torch.no_grad():
        made = {**{name: stack[name] for name in method.coded}, UP: vmap(lambda p: method.up(p)[0])(stack)}
        if _biased(method, stack):
            made[BIAS] = vmap(lambda p: cast(Tensor, method.up(p)[1]))(stack)
        return {name: tensor.to(dtype) for name, tensor in made.items()}


def delta(method: LowRank) -> Callable[[Params, Tensor, Tensor], Tensor]:
    """code · Uᵀ + b of one slot of ``ready``, on (…, T, d_in) and (…, T, d_out)."""
    return lambda p, x, y: F.linear(method.code(p, x, y), p[UP], p.get(BIAS))


def named(method: LowRank, tensors: Mapping[str, Tensor]) -> Wide:
    """What ``tensors`` gave."""
    return Wide({name: tensors[f"coded_{name}"] for name in method.coded}, tensors["up"], tensors.get("bias"))


def widened(method: LowRank, stack: Params) -> Wide:
    """Of stacked parameters, each with the N slots as its first axis."""
    coded = {name: stack[name].flatten(0, 1) for name in method.coded}
    up = vmap(lambda p: method.up(p)[0])(stack).transpose(1, 2).flatten(0, 1)
    return Wide(coded, up, vmap(lambda p: method.up(p)[1])(stack) if _biased(method, stack) else None)


def _biased(method: LowRank, stack: Params) -> bool:
    return method.up({name: tensor[0] for name, tensor in stack.items()})[1] is not None
