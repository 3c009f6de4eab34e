"""What merging is: several stored modules of one method become one new module of it, without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch

from continual.adapter import Adapter, flatten, unflatten
from continual.errors import ContinualError
from continual.folder import arguments
from continual.method import name_of
from continual.method.base import Bundled, Params
from continual.space import Parent, Space, space
from continual.space.vector import Vector, of_part

Rule = Callable[[Space], Adapter]


class Merging(Protocol):
    """A rule by which modules become one.

    rows  how many of its own training rows each module's Fisher information is measured on
          (``information.fisher``); 0 where the rule asks for none
    """

    @property
    def rows(self) -> int: ...
    def merge(self, adapters: Sequence[Adapter], fishers: Sequence[Vector] = ()) -> Adapter:
        """One module of the adapters' method; of a bundle, part by part. The adapters stay as they are.

        The result does not depend on their order, bit by bit; what has weights or Fishers takes them along. The same
        module twice counts twice. All must have been made on one encoder: their cards know, adapters do not. Heads
        are not merged.

        Raises ContinualError for no adapters, one without parameters (``method=head``) or with NaN, and for adapters
        of several methods or of one whose parameters do not correspond.
        """
        ...


def merged(
    adapters: Sequence[Adapter], weights: Sequence[float], rule: Rule, fishers: Sequence[Vector] = ()
) -> Adapter:
    """What the rule makes of the adapters, with one weight each, or one for all, in an order of their content.

    Raises ContinualError for no adapters, another number of weights or Fishers, and parameters that do not correspond.
    """
    if not adapters:
        raise ContinualError("merging needs at least one module, got none")
    if len(weights) not in (1, len(adapters)):
        raise ContinualError(
            f"merging.weights has {len(weights)} values for {len(adapters)} modules; give one for each, or one for all"
        )
    for number, adapter in enumerate(adapters):
        _require_sound(number, adapter)
    each = list(weights) * (len(adapters) if len(weights) == 1 else 1)
    given = [*fishers] or [None] * len(adapters)
    if len(given) != len(adapters):
        raise ContinualError(f"merging got {len(given)} Fishers for {len(adapters)} modules; give one for each")
    digests = [adapter.digest() for adapter in adapters]
    parents: list[Parent] = []
    for number in sorted(range(len(adapters)), key=lambda n: (digests[n], each[n])):
        copy = sum(parent.name.startswith(digests[number]) for parent in parents)
        name = f"{digests[number]}/{copy}"
        parents.append(Parent(number, name, adapters[number], each[number], given[number]))
    return _by_part(parents, rule)


def require_linear(found: Space, name: str) -> None:
    """Raises ContinualError for modules of which no parameter can be left out: zero is not nothing, or much more."""
    if not found.linear:
        raise ContinualError(
            f"merging={name} sets entries of task vectors to zero, but a {name_of(found.method)} is not linear in its "
            "parameters: without some the others mean something else; merge with mean or fisher"
        )


def require_weights(weights: Sequence[float]) -> None:
    """Raises ContinualError for weights that are none."""
    if not weights or not all(math.isfinite(weight) for weight in weights):
        raise ContinualError(f"merging.weights must be finite numbers, at least one, got {list(weights)}")


def require_density(density: float) -> None:
    """Raises ContinualError for what is no share of parameters to keep."""
    if not 0 < density <= 1:
        raise ContinualError(f"merging.density must be above 0 and at most 1, got {density}")


def require_rank(rank: int | None) -> None:
    """Raises ContinualError for a rank below 1."""
    if rank is not None and rank < 1:
        raise ContinualError(f"merging.rank must be at least 1, or null for the modules' largest, got {rank}")


def _by_part(parents: Sequence[Parent], rule: Rule) -> Adapter:
    """A bundle's parts are merged each by itself, and bundled again."""
    bundle = parents[0].adapter.method
    if not isinstance(bundle, Bundled) or len({name_of(parent.adapter.method) for parent in parents}) > 1:
        return rule(space(parents))
    if any(parent.adapter.method.gates for parent in parents):  # type: ignore[attr-defined]
        raise ContinualError(
            f"the parts of a {name_of(bundle)} have gates, which are functions of the text: merged parts under merged "
            "gates are no merge of what they do; merge bundles without gates"
        )
    kinds = {frozenset(parent.adapter.method.parts) for parent in parents}  # type: ignore[attr-defined]
    if len(kinds) > 1:
        shown = " and ".join(sorted(f"[{', '.join(sorted(kind))}]" for kind in kinds))
        raise ContinualError(f"bundles of different methods cannot be merged: {shown}")
    made = {part: rule(space([_part(parent, part) for parent in parents])) for part in bundle.parts}
    params: dict[str, Params] = {}
    for part, adapter in made.items():
        for address, own in adapter.params.items():
            params.setdefault(address, {}).update({f"{part}.{name}": tensor for name, tensor in own.items()})
    methods: dict[str, Any] = {part: arguments(adapter.method) for part, adapter in made.items()}
    return Adapter(replace(bundle, methods=methods), params)  # type: ignore[type-var]


def _part(parent: Parent, part: str) -> Parent:
    method = parent.adapter.method.parts[part]  # type: ignore[attr-defined]
    fisher = None if parent.fisher is None else flatten(of_part(unflatten(parent.fisher), part))
    adapter = Adapter(method, of_part(parent.adapter.params, part))
    return parent._replace(name=f"{parent.name}/{part}", adapter=adapter, fisher=fisher)


def _require_sound(number: int, adapter: Adapter) -> None:
    tensors: Mapping[str, torch.Tensor] = flatten(adapter.params)
    if not tensors:
        raise ContinualError(
            f"module {number} ({name_of(adapter.method)}) has no parameters that could be merged; leave it out"
        )
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ContinualError(
                f"module {number} ({name_of(adapter.method)} {adapter.digest()[:12]}…) has NaN or infinite values at "
                f"{key}; leave it out, or learn it again"
            )
