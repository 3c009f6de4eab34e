"""One label out of C for each text."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.method.base import Params


@dataclass(frozen=True)
class Classify:
    """logits = W h + b, h the pooled states; loss = cross-entropy.

    W (C, d) is drawn from N(0, 0.02) and b is zero, as in BERT's heads.
    """

    reads: ClassVar[Literal["pooled"]] = "pooled"

    def path(self) -> Hashable:
        return ("classify",)

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"weight": torch.randn(labels, d, generator=rng) * 0.02, "bias": torch.zeros(labels)}

    def logits(self, p: Params, states: Tensor) -> Tensor:
        return F.linear(states, p["weight"], p["bias"])

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none")

    def decode(self, logits: Tensor) -> Tensor:
        return logits.argmax(-1)
