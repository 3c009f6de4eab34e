"""LoRAs as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.method.lora import LoRA
from continual.space.base import Parent, Space
from continual.space.vector import Vector, exact


class Matrices(Space):
    """LoRAs: the matrices ΔW = α/r · B A. Ranks, scales, targets and layers may differ.

    A sum is exact: A = [A₁; A₂; …], B = [w₁ s₁ B₁, w₂ s₂ B₂, …], of rank Σ r (never above the matrix's width). Any
    other vector is cut to a rank by the SVD, which is the nearest matrix of that rank (Eckart & Young 1936).
    """

    def __init__(self, parents: Sequence[Parent]) -> None:
        super().__init__(parents)
        self.rank = max(len(params["a"]) for parent in parents for params in parent.adapter.params.values())

    def sum(self, weights: Sequence[float], rank: int | None = None) -> Adapter:
        found: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        for parent, weight in zip(self.parents, weights, strict=True):
            for address, p in parent.adapter.params.items():
                a, b = found.setdefault(address, ([], []))
                a.append(exact(p["a"]))
                b.append(exact(p["b"]) * exact(p["scale"]) * weight)
        return self._lora({address: _fewer(torch.cat(a), torch.cat(b, 1), rank) for address, (a, b) in found.items()})

    def module(self, merged: Vector, rank: int | None = None) -> Adapter:
        assert self.rank is not None
        cut = rank or self.rank
        return self._lora({key.rsplit("/", 1)[0]: truncated(matrix, cut) for key, matrix in merged.items()})

    def _lora(self, factors: dict[str, tuple[Tensor, Tensor]]) -> Adapter:
        rank = max(len(a) for a, _ in factors.values())
        assert isinstance(self.method, LoRA)
        method = replace(self.method, rank=rank, alpha=float(rank), rank_stabilized=False)
        return Adapter(
            method,
            {address: self._cast({"a": a, "b": b, "scale": torch.tensor(1.0)}) for address, (a, b) in factors.items()},
        )

    def _fixed(self) -> Vector:
        return {}

    def _shapes(self, adapter: Adapter) -> dict[str, tuple[int, ...]]:
        return {f"{address}/b": (len(p["b"]), p["a"].shape[1]) for address, p in adapter.params.items()}


def truncated(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(d_out, d_in) -> A (r, d_in) and B (d_out, r), whose B A is the nearest matrix of rank r; r ≤ both widths."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return v[:rank], u[:, :rank] * s[:rank]


def _fewer(a: Tensor, b: Tensor, rank: int | None) -> tuple[Tensor, Tensor]:
    """A (R, d_in) and B (d_out, R) at no more than ``rank``, nor than the matrix can have: by the SVD of (R, R)."""
    cut = min(rank or len(a), a.shape[1], len(b))
    if cut == len(a):
        return a, b
    (left, upper), (right, lower) = torch.linalg.qr(b), torch.linalg.qr(a.T)
    short_a, short_b = truncated(upper @ lower.T, cut)
    return short_a @ right.T, left @ short_b
