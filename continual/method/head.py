"""Nothing but the head: the floor that every module has to beat."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.method.base import Params
from continual.types import Shape


@dataclass(frozen=True)
class HeadOnly:
    """delta = 0 everywhere: the encoder answers bare, only the task's head is trained (a linear probe)."""

    lr: ClassVar[float] = 3e-2
    layers: ClassVar[str | None] = None
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "y"
    targets: ClassVar[tuple[str, ...]] = ()
    dropout: ClassVar[float] = 0.0

    def path(self) -> Hashable:
        return ("head",)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        return {}

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(y)
