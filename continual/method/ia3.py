"""IA³: learned scales of activations."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.method.base import Params
from continual.types import Shape


@dataclass(frozen=True)
class IA3:
    """delta = y ⊙ (l - 1), so that y becomes l ⊙ y; l (d_out,) is one at the start (Liu et al. 2022, §3.3).

    What is trained and stored is ``shift``, l - 1: weight decay pulls towards the encoder as it was, not towards l = 0.

    On ``key`` and ``value`` y is a projection with its bias; on ``ffn_act`` it is the activation between the two
    linears of the feed-forward block, l ⊙ f(x W₁), the paper's place (``peft``: its ``feedforward_modules``).
    ``ffn_in`` scales before the non-linearity, as `adapters` does: another function. ``peft``'s default for BERT also
    scales what ``attn_out`` reads, because its names match by suffix: here that is ``attn_act``.
    """

    targets: tuple[str, ...] = ("key", "value", "ffn_act")
    layers: str | None = None

    lr: ClassVar[float] = 1e-2
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "y"
    dropout: ClassVar[float] = 0.0

    def path(self) -> Hashable:
        return ("ia3",)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        return {"shift": torch.zeros(shape.d_out)}

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return y * p["shift"].to(y.dtype)

    def onto(self, p: Params, base: Tensor, x: Tensor, y: Tensor) -> Tensor:
        if base is y and y.dtype == p["shift"].dtype:
            return y * (1 + p["shift"])
        return torch.addcmul(base, y, p["shift"].to(y.dtype))  # 1 + l - 1 in bfloat16 would lose a small l - 1

    def fold(self, p: Params, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W's rows times l, and the bias times l."""
        rows = (1 + p["shift"]).unflatten(0, (-1, *[1] * (weight.dim() - 1)))
        return weight * rows, None if bias is None else bias * (1 + p["shift"])

    def fold_input(self, p: Params, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W's columns times l."""
        return weight * (1 + p["shift"]), bias
