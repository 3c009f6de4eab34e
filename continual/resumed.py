"""A composition whose training goes on: from mixers that were learned, not from fresh ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from continual import composition as compositions
from continual.adapter import Adapter
from continual.composition.base import Composition
from continual.encoder.adapted import AdaptedEncoder


@dataclass(frozen=True)
class Resumed:
    """What a pruned fusion is trained as, so that its attention learns to do without the members that it lost.

    mixers  as ``composition.restore`` takes them
    """

    composition: Composition
    mixers: Mapping[str, Tensor] = field(repr=False)
    epochs: int | None = None

    sources: ClassVar[Literal["stream", "target"]] = "stream"

    @property
    def lr(self) -> float | None:
        return self.composition.lr

    @property
    def methods(self) -> tuple[str, ...]:
        return ()

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        compositions.restore(model, self.composition, adapters, self.mixers)

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        return self.composition.penalty(model)
