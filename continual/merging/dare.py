"""DARE: drop entries at random, rescale the rest, add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from continual.adapter import Adapter
from continual.merging.base import merged, require_density, require_linear, require_rank, require_weights
from continual.space import Space
from continual.space.entries import added, dropped
from continual.space.vector import Vector


@dataclass(frozen=True)
class Dare:
    """τ = Σ_n λ_n m_n ⊙ τ_n / (1 - p), m_n 0 with probability p and else 1, entry by entry (Yu et al. 2024).

    weights  λ_n, one for each module in the order given, or one for all
    density  1 - p, the share that is kept
    seed     of the masks, with each module's content: neither the order nor the number of the modules matters
    rank     of a LoRA: what the merged ΔW is cut to by the SVD; None: the largest rank of the modules

    On average the result is Σ λ_n τ_n. On a LoRA it drops entries of ΔW (``peft``: "dare_linear_svd"); what is dropped
    at random has full rank, so the SVD takes back most of it, and a rank that is high enough is worth its bytes.
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
        return merged(adapters, self.weights, self._added)

    def _added(self, space: Space) -> Adapter:
        require_linear(space, "dare")
        pairs = zip(space.own, space.parents, strict=True)
        kept = [dropped(own, self.density, self.seed, parent.name) for own, parent in pairs]
        return space.module(added(space.align(kept), space.weights), self.rank)
