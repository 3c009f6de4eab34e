"""Prefix tuning through a network that is dropped when the prefix is stored."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual import folder
from continual.errors import ContinualError
from continual.method.base import AttentionMethod, Params
from continual.types import Shape


@dataclass(frozen=True)
class PrefixMLP:
    """[P_K; P_V] of all L layers = W₂ tanh(W₁ E + b₁) + b₂, E (P, d) an embedding (Li & Liang 2021, §4.3).

    W₁ (bottleneck, d), W₂ (2·L·d, bottleneck), as in `adapters` (tanh, 512 wide there); layer i has rows 2i (keys) and
    2i + 1 (values). The network is a way to train: it runs once a step, not once a row, and what is stored is the flat
    ``prefix`` that it says in the end; a module that is trained on, task after task, goes on as that. Linears start as
    torch's do, E from N(0, 1), as torch's embeddings.
    """

    length: int = 10
    bottleneck: int = 512
    layers: str | None = None

    lr: ClassVar[float] = 1e-3
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "x"
    targets: ClassVar[tuple[str, ...]] = ("attention",)
    dropout: ClassVar[float] = 0.0
    sized: ClassVar[str] = "embedding"

    def __post_init__(self) -> None:
        for name in ("length", "bottleneck"):
            if getattr(self, name) < 1:
                raise ContinualError(f"method.{name} must be at least 1, got {getattr(self, name)}")

    @property
    def settled(self) -> AttentionMethod:
        return folder.component("continual.method", "prefix")(length=self.length, layers=self.layers)

    def path(self) -> Hashable:
        return ("prefix_mlp", self.bottleneck)

    def init_shared(self, shapes: Sequence[Shape], rng: torch.Generator) -> Params:
        width = shapes[0].d_out
        down, up = torch.empty(self.bottleneck, width), torch.empty(2 * len(shapes) * width, self.bottleneck)
        for matrix in (down, up):
            nn.init.kaiming_uniform_(matrix, a=5**0.5, generator=rng)
        return {
            "embedding": torch.randn(self.length, width, generator=rng),
            "down": down,
            "down_bias": torch.zeros(self.bottleneck),
            "up": up,
            "up_bias": torch.zeros(len(up)),
        }

    def spread(self, p: Params, shapes: Sequence[Shape]) -> list[Params]:
        hidden = torch.tanh(F.linear(p["embedding"], p["down"], p["down_bias"]))
        flat: Tensor = F.linear(hidden, p["up"], p["up_bias"])
        heads = shapes[0].heads
        pieces = flat.unflatten(-1, (2 * len(shapes), heads, -1)).unbind(-3)  # 2·L of (P, heads, d_head)
        return [{"key": pieces[2 * i], "value": pieces[2 * i + 1]} for i in range(len(shapes))]
