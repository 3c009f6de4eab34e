"""TIES: trim, elect a sign, average those that agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.errors import unknown
from continual.merging.base import merged, require_density, require_linear, require_rank, require_weights
from continual.space import Space
from continual.space.entries import elected
from continual.space.vector import Vector

SCOPES = ("module", "tensor")


@dataclass(frozen=True)
class Ties:
    """τ_n trimmed to its largest entries; τ = λ · the mean of those of the elected sign (Yadav et al. 2023, §4).

    weights  λ, or one λ_n for each module, in the order given
    density  share of the entries that are kept, by magnitude (0.2 in the paper)
    scope    "module": the largest of all that the module changes, as in the paper · "tensor": of each tensor by itself,
             as in ``peft``
    rank     of a LoRA: what the merged ΔW is cut to by the SVD; None: the largest rank of the modules

    Trim, sign and mean act on ΔW of a LoRA (``peft``: "ties_svd"), not on its factors ("ties"). A sparse module's
    entries are those that it has. Where entries of one magnitude lie on the edge of the trim all are kept; ``peft``
    keeps any of them. How the sign is elected: ``elected``.
    """

    weights: tuple[float, ...] = (1.0,)
    density: float = 0.2
    scope: str = "module"
    rank: int | None = None

    rows: ClassVar[int] = 0

    def __post_init__(self) -> None:
        require_weights(self.weights)
        require_density(self.density)
        require_rank(self.rank)
        if self.scope not in SCOPES:
            raise unknown("merging.scope", self.scope, SCOPES)

    def merge(self, adapters: Sequence[Adapter], fishers: Sequence[Vector] = ()) -> Adapter:
        return merged(adapters, self.weights, self._elected)

    def _elected(self, space: Space) -> Adapter:
        require_linear(space, "ties")
        kept = space.align([self.trimmed(own) for own in space.own])
        return space.module(elected(kept, space.weights), self.rank)

    def trimmed(self, vector: Vector) -> Vector:
        """With zeros for all but the largest entries."""
        if self.scope == "tensor":
            return {key: _largest(t, self._edge(t.flatten())) for key, t in vector.items()}
        edge = self._edge(torch.cat([tensor.flatten() for tensor in vector.values()]))
        return {key: _largest(tensor, edge) for key, tensor in vector.items()}

    def _edge(self, flat: Tensor) -> float:
        """The smallest magnitude that is kept."""
        drop = len(flat) - int(self.density * len(flat))
        return math.inf if drop == len(flat) else float(flat.abs().kthvalue(drop + 1).values)


def _largest(tensor: Tensor, edge: float) -> Tensor:
    return torch.where(tensor.abs() >= edge, tensor, 0.0)
