"""Prompt tuning: learned vectors before the text."""

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
class Prompt:
    """[p_1 … p_P; e_1 … e_T]: ``length`` trained vectors before the token embeddings (Lester et al. 2021).

    They stand before the encoder's positions are added, so they take the positions 0 to P - 1 and the text moves P
    places to the right, as in ``peft``; `adapters` inserts them after that, which is another function. Drawn from
    N(0, 0.02), BERT's initialisation of an embedding. Pooling reads the text's own tokens only.
    """

    length: int = 10

    lr: ClassVar[float] = 3e-2
    layers: ClassVar[str | None] = None
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "x"
    targets: ClassVar[tuple[str, ...]] = ("embedding",)
    dropout: ClassVar[float] = 0.0
    sized: ClassVar[str] = "prompt"

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ContinualError(f"method.length must be at least 1, got {self.length}")

    def path(self) -> Hashable:
        return ("prompt",)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        return {"prompt": torch.randn(self.length, shape.d_out, generator=rng) * 0.02}

    def vectors(self, p: Params) -> Tensor:
        return p["prompt"]
