"""A sum of LoRAs, compressed to a rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from continual.adapter import Adapter
from continual.errors import ContinualError
from continual.merging.base import merged, require_rank, require_weights
from continual.method import name_of
from continual.space import Space
from continual.space.vector import Vector


@dataclass(frozen=True)
class SVD:
    """ΔW = the matrix of rank r that is nearest to Σ_n λ_n ΔW_n, at each site: U_r S_r V_rᵀ (``peft``'s "svd").

    weights  λ_n, one for each module in the order given, or one for all
    rank     r; None: the largest rank of the modules

    The relative error at a site is (Σ_{i>r} s_i² / Σ s_i²)^½. The SVD is of a matrix as small as the sum of the ranks,
    between two QR decompositions of the factors; ΔW itself is never formed.
    """

    weights: tuple[float, ...] = (1.0,)
    rank: int | None = None

    rows: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require_weights(self.weights)
        require_rank(self.rank)

    def merge(self, adapters: Sequence[Adapter], fishers: Sequence[Vector] = ()) -> Adapter:
        return merged(adapters, self.weights, self._compressed)

    def _compressed(self, space: Space) -> Adapter:
        if space.rank is None:
            raise ContinualError(
                f"merging=svd compresses LoRAs to a rank; a {name_of(space.method)} has none: merge with arithmetic"
            )
        return space.sum(space.weights, self.rank or space.rank)
