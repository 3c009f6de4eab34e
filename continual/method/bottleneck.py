"""Bottleneck adapters."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.errors import ContinualError, unknown
from continual.method.base import Params
from continual.types import Shape

# Every activation has f(0) = 0: zero-padding unequal ranks inside one stack is then exact.
ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": torch.tanh}


@dataclass(frozen=True)
class Bottleneck:
    """delta = scale · (f(y Dᵀ + d) Uᵀ + u), rank = width / reduction_factor.

    On ``ffn_norm`` this is the Pfeiffer adapter, LN(x + delta(LN(x))) (Pfeiffer et al. 2021; ``seq_bn`` of `adapters`);
    on ``attn_out`` and ``ffn_out`` it is Houlsby's. D (r, d) is Kaiming-uniform and U (d, r) zero, so that a fresh
    adapter changes nothing; the reference draws both from N(0, 0.02).
    """

    reduction_factor: float = 16.0
    activation: str = "relu"
    scale: float = 1.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("ffn_norm",)

    lr: ClassVar[float] = 3e-3
    fixed: ClassVar[tuple[str, ...]] = ("scale",)
    reads: ClassVar[Literal["x", "y"]] = "y"
    coded: ClassVar[tuple[str, ...]] = ("down", "down_bias")

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ContinualError(f"method.dropout must be at least 0 and below 1, got {self.dropout}")
        if self.activation not in ACTIVATIONS:
            raise unknown("method.activation", self.activation, ACTIVATIONS)
        if self.reduction_factor < 1:
            raise ContinualError(f"method.reduction_factor must be at least 1, got {self.reduction_factor}")

    def path(self) -> Hashable:
        return ("bottleneck", self.activation, self.dropout)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        d = shape.d_out
        rank = max(1, int(d // self.reduction_factor))
        down = torch.empty(rank, d)
        nn.init.kaiming_uniform_(down, a=5**0.5, generator=rng)
        return {
            "down": down,
            "down_bias": torch.zeros(rank),
            "up": torch.zeros(d, rank),
            "up_bias": torch.zeros(d),
            "scale": torch.tensor(float(self.scale)),
        }

    def code(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](F.linear(y, p["down"], p["down_bias"]))

    def up(self, p: Params) -> tuple[Tensor, Tensor]:
        return p["up"] * p["scale"], p["up_bias"] * p["scale"]

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return F.linear(self.code(p, x, y), p["up"], p["up_bias"]) * p["scale"]
