"""Sparse changes, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from continual.adapter import WEIGHTS, Adapter
from continual.method.base import Params
from continual.method.sparse import Sparse
from continual.space.base import Parent, Space
from continual.space.vector import Vector


class Positions(Space):
    """Sparse changes: of all weights those that any of the modules changes."""

    def __init__(self, parents: Sequence[Parent]) -> None:
        super().__init__(parents)
        indices = [parent.adapter.params[WEIGHTS]["index"] for parent in parents]
        self.index = torch.cat(indices).unique()  # sorted
        self.places = [torch.searchsorted(self.index, index) for index in indices]

    def align(self, vectors: Sequence[Vector]) -> list[Vector]:
        aligned = []
        for one, places in zip(vectors, self.places, strict=True):
            [(key, value)] = one.items()
            aligned.append({key: value.new_zeros(len(self.index)).index_copy(0, places, value)})
        return aligned

    def module(self, merged: Vector, rank: int | None = None) -> Adapter:
        assert isinstance(self.method, Sparse)
        share = self.method.density * len(self.index) / len(self.places[0])
        params: Params = {"index": self.index, "value": next(iter(self._cast(merged).values()))}
        return Adapter(replace(self.method, density=min(1.0, share)), {WEIGHTS: params})

    def _fixed(self) -> Vector:
        return {}

    def _require_match(self) -> None:
        pass  # positions are put side by side: they need not be the same
