"""BitFit: only biases are trained."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.method.base import Params
from continual.types import Shape


@dataclass(frozen=True)
class BitFit:
    """delta = Δb, the same for every token: training a module's bias (Ben Zaken et al. 2022). Stored is the difference.

    A norm's bias is added behind the norm, LN(x) + Δb, so its sites are ``attn_post`` and ``ffn_post``. The paper
    trains all biases of the encoder; here

    - those of the embeddings and of the pooler, which belong to no layer, stay as they are;
    - a module without a bias gets one;
    - ``key`` is not among the default targets: q · (k + Δb) adds the same to the scores of all keys, which softmax
      ignores, so the gradient of Δb is zero but for rounding. Name it where keys meet positions (DeBERTa, rotary ones).
    """

    targets: tuple[str, ...] = ("query", "value", "attn_out", "attn_post", "ffn_in", "ffn_out", "ffn_post")
    layers: str | None = None

    lr: ClassVar[float] = 5e-3
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "y"
    dropout: ClassVar[float] = 0.0

    def path(self) -> Hashable:
        return ("bitfit",)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        return {"bias": torch.zeros(shape.d_out)}

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return p["bias"].to(y.dtype).expand_as(y)

    def fold(self, p: Params, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """b + Δb."""
        return weight, p["bias"] if bias is None else bias + p["bias"]

    def fold_input(self, p: Params, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """b + W Δb."""
        return weight, weight @ p["bias"] if bias is None else bias + weight @ p["bias"]
