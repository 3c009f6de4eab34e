"""Low-rank adaptation of linear layers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.errors import ContinualError
from continual.method.base import Params, require_dropout
from continual.types import Shape


@dataclass(frozen=True)
class LoRA:
    """delta = alpha/rank · x Aᵀ Bᵀ  (Hu et al. 2021, eq. 3).

    ``rank_stabilized`` makes the scale alpha/√rank, with which large ranks learn as fast as small ones (Kalajdzievski
    2023). A (rank, d_in) is Kaiming-uniform with a = √5, as in ``peft``; B (d_out, rank) is zero. The scale is kept as
    a tensor, so adapters of different rank and alpha share one stack.
    """

    rank: int = 8
    alpha: float = 16.0
    rank_stabilized: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ("query", "value")
    layers: str | None = None

    lr: ClassVar[float] = 3e-3
    fixed: ClassVar[tuple[str, ...]] = ("scale",)
    reads: ClassVar[Literal["x", "y"]] = "x"
    coded: ClassVar[tuple[str, ...]] = ("a",)

    def __post_init__(self) -> None:
        require_dropout(self.dropout)
        if self.rank < 1:
            raise ContinualError(f"method.rank must be at least 1, got {self.rank}")

    def path(self) -> Hashable:
        return ("lora", self.dropout)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        """Raises ContinualError for a rank above the site's width."""
        if self.rank > min(shape.d_in, shape.d_out):
            raise ContinualError(f"method.rank is {self.rank}, above the site's width {min(shape.d_in, shape.d_out)}")
        a = torch.empty(self.rank, shape.d_in)
        nn.init.kaiming_uniform_(a, a=5**0.5, generator=rng)
        scale = self.alpha / (self.rank**0.5 if self.rank_stabilized else self.rank)
        return {"a": a, "b": torch.zeros(shape.d_out, self.rank), "scale": torch.tensor(float(scale))}

    def code(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return F.linear(x, p["a"])

    def up(self, p: Params) -> tuple[Tensor, None]:
        return p["b"] * p["scale"], None

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return F.linear(self.code(p, x, y), p["b"] * p["scale"])

    def fold(self, p: Params, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W + scale · B A. Raises ContinualError beside a norm."""
        if weight.dim() != 2:
            raise ContinualError("LoRA beside a norm can't be merged: a norm's weight scales channels, it mixes none")
        return weight + p["scale"] * (p["b"] @ p["a"]), bias

    def fold_input(self, p: Params, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W (1 + scale · B A)."""
        return weight + p["scale"] * (weight @ p["b"] @ p["a"]), bias
