"""DARE before TIES: dropped at random in place of trimmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from continual.adapter import Adapter
from continual.merging.base import merged, require_density, require_linear, require_rank, require_weights
from continual.space import Space
from continual.space.entries import dropped, elected
from continual.space.vector import Vector


@dataclass(frozen=True)
class DareTies:
    """τ = λ · the mean of those m_n ⊙ τ_n / (1 - p) that have the elected sign (Yu et al. 2024).

    The masks are those of ``dare``, the election that of ``ties``, which trims nothing more (``peft``:
    "dare_ties_svd"). Arguments as there.
    """

    weights: tuple[float, ...] = (1.0,)
    density: float = 0.5
    seed: int = 0
    rank: int | None = None

    rows: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require_weights(self.weights)
        require_density(self.density)
        require_rank(self.rank)

    def merge(self, adapters: Sequence[Adapter], fishers: Sequence[Vector] = ()) -> Adapter:
        return merged(adapters, self.weights, self._elected)

    def _elected(self, space: Space) -> Adapter:
        require_linear(space, "dare_ties")
        pairs = zip(space.own, space.parents, strict=True)
        kept = [dropped(own, self.density, self.seed, parent.name) for own, parent in pairs]
        return space.module(elected(space.align(kept), space.weights), self.rank)
