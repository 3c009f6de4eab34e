"""Fisher-weighted averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from continual.adapter import Adapter
from continual.errors import ContinualError
from continual.merging.base import merged, require_rank, require_weights
from continual.space import Space
from continual.space.vector import Vector, exact


@dataclass(frozen=True)
class Fisher:
    """θ = Σ_n λ_n F_n θ_n / Σ_n λ_n F_n, entry by entry (Matena & Raffel 2022).

    weights  λ_n ≥ 0, one for each module in the order given, or one for all
    rows     training rows that F_n, the diagonal of module n's Fisher information, is measured on
    rank     of a LoRA: what the merged ΔW is cut to by the SVD; None: the largest rank of the modules

    ``fishers`` are vectors with the keys of ``space.vector.vector(adapter)``: of a LoRA F is that of ΔW
    (``information.fisher`` gives it). Where a module has nothing, it has no say. Where no module has a say, F = 0, all
    have the same, each by its λ. F is taken as it is measured: a task with larger losses has larger gradients and so
    more to say, which λ can even out.
    """

    weights: tuple[float, ...] = (1.0,)
    rows: int = 256
    rank: int | None = None

    def __post_init__(self) -> None:
        require_weights(self.weights)
        require_rank(self.rank)
        if min(self.weights) < 0 or not any(self.weights):
            raise ContinualError(f"merging.weights of fisher must not be negative, nor all zero: {list(self.weights)}")
        if self.rows < 1:
            raise ContinualError(f"merging.rows must be at least 1, got {self.rows}")

    def merge(self, adapters: Sequence[Adapter], fishers: Sequence[Vector] = ()) -> Adapter:
        """Raises ContinualError without the Fisher information of each adapter."""
        if adapters and not fishers:
            raise ContinualError("merging=fisher needs the Fisher information of each module; got none")
        return merged(adapters, self.weights, self._weighted, fishers)

    def _weighted(self, space: Space) -> Adapter:
        aligned, says = space.align(space.own), space.align(_fishers(space))
        weights = torch.tensor(space.weights, dtype=torch.float64)
        found: Vector = {}
        for key, like in aligned[0].items():
            theta = torch.stack([one[key] for one in aligned]).double()
            share = weights.view(-1, *[1] * like.dim())
            say = torch.stack([one[key] for one in says]).double() * share
            say = torch.where(say.sum(0) > 0, say, share)
            found[key] = ((say * theta).sum(0) / say.sum(0)).to(like.dtype)
        return space.module(found, self.rank)


def _fishers(space: Space) -> list[Vector]:
    """Raises ContinualError for what cannot be the Fisher information of these modules."""
    found = []
    for parent, own in zip(space.parents, space.own, strict=True):
        fisher = {key: exact(tensor) for key, tensor in (parent.fisher or {}).items()}
        if {k: t.shape for k, t in fisher.items()} != {k: t.shape for k, t in own.items()}:
            raise ContinualError(
                f"the Fisher of module {parent.number} is not of its vector: expected {len(own)} tensors such as "
                f"{next(iter(own))}, got {len(fisher)}; measure it with information.fisher"
            )
        for key, tensor in fisher.items():
            if not bool((torch.isfinite(tensor) & (tensor >= 0)).all()):
                raise ContinualError(f"the Fisher of module {parent.number} is not finite or below 0 at {key}")
        found.append(fisher)
    return found
