"""Modules of one method as vectors of one space, and a vector of it as a module again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import NamedTuple

import torch

from continual.adapter import Adapter, flatten, unflatten
from continual.errors import ContinualError
from continual.folder import arguments
from continual.method import name_of
from continual.method.base import Described
from continual.method.bitfit import BitFit
from continual.method.full import Full
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.method.sparse import Sparse
from continual.space.entries import added
from continual.space.vector import Vector, vector

LINEAR = (BitFit, Full, IA3, LoRA, Sparse)
"""Methods whose change is linear in the vector: where a module has nothing, its vector is zero."""


class Parent(NamedTuple):
    """A module that is merged.

    number  its place among those given, for messages · name  what tells it apart whatever their order: its digest, and
            how many of the same come before it · fisher  a vector with the keys of its own
    """

    number: int
    name: str
    adapter: Adapter
    weight: float
    fisher: Vector | None = None


class Space:
    """The parameters themselves, one by one: all of them, or none where a module is absent and the method is linear.

    linear  whether what the modules do is linear in the vector, so that vectors can be added, scaled and thinned out
    rank    of methods that have one, the largest of the modules'; else None

    Raises ContinualError for modules whose parameters do not correspond.
    """

    rank: int | None = None

    def __init__(self, parents: Sequence[Parent]) -> None:
        self.parents = tuple(parents)
        self.weights = tuple(parent.weight for parent in parents)
        self.method = _common([parent.adapter.method for parent in parents])
        self.linear = isinstance(self.method, LINEAR)
        tensors = [tensor for parent in parents for tensor in flatten(parent.adapter.params).values()]
        self.dtype = max((t.dtype for t in tensors if t.is_floating_point()), key=lambda d: torch.finfo(d).bits)
        self.fixed = self._fixed()
        self._require_match()

    @cached_property
    def own(self) -> list[Vector]:
        """Each module's vector, with the keys and lengths that it alone has; ``align`` makes them comparable."""
        return [vector(parent.adapter) for parent in self.parents]

    def align(self, vectors: Sequence[Vector]) -> list[Vector]:
        """One vector a module, each with that module's keys -> the same with all keys, zero where it has none."""
        like = {key: tensor for one in vectors for key, tensor in one.items()}
        return [{key: one.get(key, torch.zeros_like(t)) for key, t in like.items()} for one in vectors]

    def sum(self, weights: Sequence[float], rank: int | None = None) -> Adapter:
        """Σ w_n τ_n as a module; exactly, where no ``rank`` is asked for.

        Raises ContinualError where the weights do not sum to one and the method is not linear.
        """
        if not self.linear and abs(sum(weights) - 1) > 1e-6:
            raise ContinualError(
                f"merging.weights sum to {sum(weights):g}, but a {name_of(self.method)} is not linear in its "
                "parameters: they can be averaged, not added or scaled; give weights that sum to 1, or merge with mean"
            )
        return self.module(added(self.align(self.own), weights), rank)

    def module(self, merged: Vector, rank: int | None = None) -> Adapter:
        """The module with this vector. ``rank`` is for methods that have one (None: the largest of the modules')."""
        return Adapter(self.method, unflatten({**self.fixed, **self._cast(merged)}))

    def _cast(self, tensors: Vector) -> Vector:
        return {key: tensor.to(self.dtype) for key, tensor in tensors.items()}

    def _fixed(self) -> Vector:
        """What the method keeps fixed, which must be the same in all modules."""
        found: Vector = {}
        for parent in self.parents:
            for key, tensor in flatten(parent.adapter.params).items():
                if key.rsplit("/", 1)[1] not in self.method.fixed:
                    continue
                if not torch.equal(found.setdefault(key, tensor), tensor):
                    raise self._differ(key, str(found[key].tolist()), str(tensor.tolist()), parent)
        return found

    def _shapes(self, adapter: Adapter) -> dict[str, tuple[int, ...]]:
        """Of the tensors of a module's vector."""
        tensors = flatten(adapter.params)
        return {k: tuple(t.shape) for k, t in tensors.items() if k.rsplit("/", 1)[1] not in self.method.fixed}

    def _require_match(self) -> None:
        kind, known = name_of(self.method), {}
        for place, parent in enumerate(self.parents):
            shapes = self._shapes(parent.adapter)
            if place and not self.linear and (odd := sorted(known.keys() ^ shapes.keys())):
                raise ContinualError(
                    f"{kind} modules act at different sites: of module {parent.number} and another only one has "
                    f"{odd[0]}; merge modules of the same targets and layers (lora, ia3, bitfit and full need not be)"
                )
            for key, shape in shapes.items():
                if known.setdefault(key, shape) != shape:
                    raise self._differ(key, str(known[key]), str(shape), parent)

    def _differ(self, key: str, one: str, other: str, parent: Parent) -> ContinualError:
        return ContinualError(
            f"{name_of(self.method)} modules differ at {key}: {one} and, in module {parent.number}, {other}; merge "
            "modules that were made with the same arguments on the same encoder"
        )


def _common(methods: Sequence[Described]) -> Described:
    """The method of the result: all targets; no layers and no dropout where these differ, which only training reads.

    Raises ContinualError for methods that compute different functions.
    """
    first = methods[0]
    names = {field.name for field in fields(first)}  # type: ignore[arg-type]
    plain = {"dropout": 0.0} if "dropout" in names else {}
    if len({replace(method, **plain).path() for method in methods}) > 1:  # type: ignore[type-var]
        values = [arguments(method) for method in methods]
        odd = {key: list(dict.fromkeys(str(v[key]) for v in values)) for key in values[0]}
        shown = "; ".join(f"{key}: {' and '.join(found)}" for key, found in odd.items() if len(found) > 1)
        raise ContinualError(f"{name_of(first)} modules that compute different functions cannot be merged: {shown}")
    changes: dict[str, object] = {}
    if "targets" in names:
        changes["targets"] = tuple(dict.fromkeys(target for method in methods for target in method.targets))
    for name, other in (("layers", None), ("dropout", 0.0)):
        if name in names and len({getattr(method, name) for method in methods}) > 1:
            changes[name] = other
    return replace(first, **changes)  # type: ignore[type-var]
