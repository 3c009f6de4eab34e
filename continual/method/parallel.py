"""Parallel adapters."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.activation import activation
from continual.errors import ContinualError
from continual.method.base import Params, require_dropout
from continual.types import Shape


@dataclass(frozen=True)
class Parallel:
    """delta = scale · (f(x Dᵀ + d) Uᵀ + u), rank = width / reduction_factor: a bottleneck that reads a block's input.

    On ``ffn_parallel`` x is the feed-forward block's input r and z its output: LN(z + delta(r) + r), the scaled
    parallel adapter (He et al. 2022, §4.6; ``par_bn`` of `adapters`, and the FFN's part of MAM). D (rank, d_in) is
    Kaiming-uniform and U (d_out, rank) zero, as there. ``learn_scale`` trains the scale, from the one given
    (``scaled_par_bn``: from 1). A norm before D or behind U is not offered.
    """

    reduction_factor: float = 2.0
    activation: str = "relu"
    scale: float = 4.0
    learn_scale: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ("ffn_parallel",)
    layers: str | None = None

    lr: ClassVar[float] = 1e-3
    reads: ClassVar[Literal["x", "y"]] = "x"
    coded: ClassVar[tuple[str, ...]] = ("down", "down_bias")

    def __post_init__(self) -> None:
        activation(self.activation)
        require_dropout(self.dropout)
        if self.reduction_factor < 1:
            raise ContinualError(f"method.reduction_factor must be at least 1, got {self.reduction_factor}")

    @property
    def fixed(self) -> tuple[str, ...]:
        return () if self.learn_scale else ("scale",)

    def path(self) -> Hashable:
        return ("parallel", self.activation, self.learn_scale, self.dropout)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        rank = max(1, int(shape.d_in // self.reduction_factor))
        down = torch.empty(rank, shape.d_in)
        nn.init.kaiming_uniform_(down, a=5**0.5, generator=rng)
        return {
            "down": down,
            "down_bias": torch.zeros(rank),
            "up": torch.zeros(shape.d_out, rank),
            "up_bias": torch.zeros(shape.d_out),
            "scale": torch.tensor(float(self.scale)),
        }

    def code(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return activation(self.activation)(F.linear(x, p["down"], p["down_bias"]))

    def up(self, p: Params) -> tuple[Tensor, Tensor]:
        return p["up"] * p["scale"], p["up_bias"] * p["scale"]

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return F.linear(self.code(p, x, y), *self.up(p))
