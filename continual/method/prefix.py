"""Prefix tuning: keys and values of its own in every layer's attention."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.errors import ContinualError
from continual.method.base import Params
from continual.types import Shape


@dataclass(frozen=True)
class Prefix:
    """attn(q) = softmax(q [P_K; K]ᵀ / √d_head) [P_V; V]: ``length`` trained keys and values in each layer and head.

    Trained as they are (P-tuning v2, Liu et al. 2022; "flat" in `adapters`); ``prefix_mlp`` trains the same through a
    network (Li & Liang 2021). P_K and P_V (P, heads, d_head) are drawn from N(0, 0.02). A prefix has no zero: any
    finite key takes its share of the softmax, so a fresh one already moves the answers a little.
    """

    length: int = 10
    layers: str | None = None

    lr: ClassVar[float] = 1e-2
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "x"
    targets: ClassVar[tuple[str, ...]] = ("attention",)
    dropout: ClassVar[float] = 0.0
    sized: ClassVar[str] = "key"

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ContinualError(f"method.length must be at least 1, got {self.length}")

    def path(self) -> Hashable:
        return ("prefix",)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        size = (self.length, shape.heads, shape.d_out // shape.heads)
        return {name: torch.randn(size, generator=rng) * 0.02 for name in ("key", "value")}

    def keys_values(self, p: Params) -> tuple[Tensor, Tensor]:
        return p["key"].transpose(0, 1), p["value"].transpose(0, 1)
