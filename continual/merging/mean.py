"""The mean of modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from continual.adapter import Adapter
from continual.merging.base import merged
from continual.space.vector import Vector


@dataclass(frozen=True)
class Mean:
    """τ = 1/N Σ_n τ_n, the average of the models that the modules make (Wortsman et al. 2022). As ``arithmetic``."""

    rows: ClassVar[int] = 0

    def merge(self, adapters: Sequence[Adapter], fishers: Sequence[Vector] = ()) -> Adapter:
        return merged(adapters, (1 / max(1, len(adapters)),), lambda space: space.sum(space.weights))
