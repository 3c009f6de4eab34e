"""Task arithmetic: modules added, subtracted and scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from continual.adapter import Adapter
from continual.merging.base import merged, require_weights
from continual.space.vector import Vector


@dataclass(frozen=True)
class Arithmetic:
    """τ = Σ_n λ_n τ_n (Ilharco et al. 2023, §2): adds tasks, with λ = -1 forgets one, and scales.

    weights  λ_n, one for each module in the order given, or one for all

    A LoRA's sum is exact: its rank is the sum of the ranks (``svd`` makes it smaller), as ``peft``'s "cat"; its
    "linear" adds the factors, which gives cross terms. IA³ adds l - 1, so that λ = 0 is the bare encoder; ``peft`` adds
    l, the same where Σ λ = 1. Bottlenecks, parallel adapters, Compacters, prefixes and prompts are not linear in their
    parameters. These can be averaged, Σ λ = 1, as by "linear" of `adapters`: a weight average and no sum of tasks, for
    which there is little hope where the modules did not start at the same values.
    """

    weights: tuple[float, ...] = (1.0,)

    rows: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require_weights(self.weights)

    def merge(self, adapters: Sequence[Adapter], fishers: Sequence[Vector] = ()) -> Adapter:
        return merged(adapters, self.weights, lambda space: space.sum(space.weights))
