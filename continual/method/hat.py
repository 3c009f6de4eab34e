"""Adapters with hard attention: bottlenecks whose hidden units are gated by a task embedding."""

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
class HAT:
    """delta = scale · (a ⊙ f(y Dᵀ + d)) Uᵀ with gates a = σ(s · e), rank = width / reduction_factor.

    e (rank,), ``embedding``, is the task's embedding at this site: trained, drawn from N(0, 1). s, ``sharpness``, is a
    number that is stored and not trained: ``strategy=hat`` raises it in training until a unit is open or closed, and
    keeps weights whose units earlier tasks have open (``continual/strategy/hat.py``). Without that strategy s is 1:
    soft gates, a bottleneck like any other. Serrà et al. 2018, §2.1; in adapters Ke et al. 2021 (their "Adapter-HAT").

    There every layer of the adapter has gates, its output's too; here only the units in the middle have, since what
    goes in and comes out is the frozen encoder's. So there is no bias behind U: it would belong to no unit, so no gate
    could say whose it is, and a module whose gates are all closed changes nothing. The gates stand in ``up``, as
    factors of U's columns, which is the same product and costs nothing per token.
    """

    reduction_factor: float = 16.0
    activation: str = "relu"
    scale: float = 1.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("ffn_norm",)
    layers: str | None = None

    lr: ClassVar[float] = 3e-3
    fixed: ClassVar[tuple[str, ...]] = ("scale", "sharpness")
    reads: ClassVar[Literal["x", "y"]] = "y"
    coded: ClassVar[tuple[str, ...]] = ("down", "down_bias")

    def __post_init__(self) -> None:
        activation(self.activation)
        require_dropout(self.dropout)
        if self.reduction_factor < 1:
            raise ContinualError(f"method.reduction_factor must be at least 1, got {self.reduction_factor}")

    def path(self) -> Hashable:
        return ("hat", self.activation, self.dropout)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        d = shape.d_out
        rank = max(1, int(d // self.reduction_factor))
        down = torch.empty(rank, d)
        nn.init.kaiming_uniform_(down, a=5**0.5, generator=rng)
        return {
            "down": down,
            "down_bias": torch.zeros(rank),
            "up": torch.zeros(d, rank),
            "embedding": torch.randn(rank, generator=rng),
            "scale": torch.tensor(float(self.scale)),
            "sharpness": torch.tensor(1.0),
        }

    def code(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return activation(self.activation)(F.linear(y, p["down"], p["down_bias"]))

    def up(self, p: Params) -> tuple[Tensor, None]:
        return p["up"] * (p["scale"] * torch.sigmoid(p["sharpness"] * p["embedding"])), None

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return F.linear(self.code(p, x, y), self.up(p)[0])
