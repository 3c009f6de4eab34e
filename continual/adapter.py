"""An adapter: a method and the tensors it learned, by site address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from continual import gate
from continual.errors import ContinualError
from continual.files import canonical, sha256
from continual.folder import arguments
from continual.method import name_of
from continual.method.base import Bundled, Described, Params, Spread, WeightMethod, layers_in
from continual.types import Shape

WEIGHTS = "encoder/weights"
"""The address of a weight method's tensors, which belong to no site."""
SHARED = "encoder/shared"
"""The address of what a method spreads over the attention sites of all layers."""
EMBEDDING = "encoder/embedding"
"""The address of what stands before the token embeddings."""


class Piece(NamedTuple):
    """What one method has at one address. ``part`` is its name in a bundle; empty for a method by itself."""

    part: str
    method: Described
    params: Params


@dataclass(frozen=True)
class Adapter:
    """``params[address]`` for each site address ``"<layer>/<site>"``; empty for a method that acts on none.

    In a bundle a parameter's name begins with that of its part: ``"lora.a"``.
    """

    method: Described
    params: dict[str, Params] = field(repr=False)

    @property
    def size(self) -> int:
        """Trainable parameters."""
        pieces = [piece for address in self.params for piece in self.pieces(address)]
        return sum(t.numel() for piece in pieces for name, t in piece.params.items() if name not in piece.method.fixed)

    def pieces(self, address: str) -> Iterator[Piece]:
        """What it has at an address, method by method."""
        params = self.params.get(address)
        if not params:
            return
        if self._parts is None:
            yield Piece("", self.method, params)
            return
        for part, method in self._parts.items():
            own = {name[len(part) + 1 :]: t for name, t in params.items() if name.startswith(f"{part}.")}
            if own:
                yield Piece(part, method, own)

    @cached_property
    def _parts(self) -> Mapping[str, Described] | None:
        """Of a bundle. Asked at every site, where a protocol's isinstance takes longer than all else."""
        return self.method.parts if isinstance(self.method, Bundled) else None

    def above(self, layer: int) -> Adapter:
        """Without what it has in the layers below ``layer``: AdapterDrop at inference (Rücklé et al. 2021).

        Vectors before the text are in no layer: they stay. Raises ContinualError where what it has is not kept by
        layer: changed weights of the encoder, and a prefix that is still spread by a network.
        """
        if self.params.keys() & {WEIGHTS, SHARED}:
            raise ContinualError(
                f"a module of {name_of(self.method)} cannot be taken apart by layers; "
                f"limit the method when it is trained: method.layers={layer}-"
            )
        kept = {a: p for a, p in self.params.items() if not a.split("/")[0].isdigit() or int(a.split("/")[0]) >= layer}
        return replace(self, params=kept)

    def digest(self) -> str:
        facts = [name_of(self.method), arguments(self.method)]
        return sha256(canonical(facts), tensors_digest(flatten(self.params)).encode())


def fresh(
    method: Described,
    shapes: Mapping[str, Shape],
    weights: Mapping[str, Tensor],
    seed: int,
    absent: Mapping[str, str] | None = None,
) -> Adapter:
    """A new adapter for an encoder with these sites and weights. Each site draws from its own stream f(seed, address).

    Raises ContinualError when the encoder lacks a site that the method targets (``absent``: why it does), or a layer.
    """
    if isinstance(method, WeightMethod):
        if why := (absent or {}).get("weights"):
            raise ContinualError(f"method={name_of(method)} changes the encoder's weights: {why}")
        return Adapter(method, {WEIGHTS: method.init_weights(weights, seed)})
    if isinstance(method, Bundled):
        return _bundle(method, shapes, weights, seed, absent)
    chosen = _sites(method, shapes, absent or {})
    if isinstance(method, Spread):
        return Adapter(method, {SHARED: method.init_shared(list(chosen.values()), generator(seed, SHARED))})
    return Adapter(method, {address: method.init(shape, generator(seed, address)) for address, shape in chosen.items()})  # type: ignore[attr-defined]


def _bundle(
    bundle: Bundled,
    shapes: Mapping[str, Shape],
    weights: Mapping[str, Tensor],
    seed: int,
    absent: Mapping[str, str] | None,
) -> Adapter:
    params: dict[str, Params] = {}
    for part, method in bundle.parts.items():
        if isinstance(method, WeightMethod):
            raise ContinualError(f"method.methods has {part}, which changes the encoder's weights: it works alone")
        for address, own in fresh(method, shapes, weights, seed, absent).params.items():
            if count := bundle.gates.get(part, 0):
                sites = _sites(method, shapes, absent or {}) if address == SHARED else {address: shapes[address]}
                own |= _gates(method, list(sites.values()), count, generator(seed, address, part, gate.WEIGHT))
            params.setdefault(address, {}).update({f"{part}.{name}": tensor for name, tensor in own.items()})
    return Adapter(bundle, params)


def _gates(method: Described, shapes: Sequence[Shape], count: int, rng: torch.Generator) -> Params:
    """Of one site; of what is spread over several, stacked in their order."""
    made = [gate.fresh(count, shape.d_in if method.reads == "x" else shape.d_out, rng) for shape in shapes]
    if not isinstance(method, Spread):
        return made[0]
    return {name: torch.stack([p[name] for p in made]) for name in made[0]}


def _sites(method: Described, shapes: Mapping[str, Shape], absent: Mapping[str, str]) -> dict[str, Shape]:
    """The sites that the method acts on, in the layers that it is limited to."""
    names = {address.split("/")[1] for address in shapes}
    if missing := [target for target in method.targets if target not in names]:
        why = "".join(f"; {target}: {absent[target]}" for target in missing if target in absent)
        raise ContinualError(
            f"method.targets has {missing}, which this encoder lacks{why}; it has: {', '.join(sorted(names))}"
        )
    count = 1 + max((int(layer) for address in shapes if (layer := address.split("/")[0]).isdigit()), default=-1)
    layers = {str(number) for number in layers_in(method.layers, count)}
    return {
        address: shape
        for address, shape in shapes.items()
        if address.split("/")[1] in method.targets and (address == EMBEDDING or address.split("/")[0] in layers)
    }


def generator(seed: int, *names: str) -> torch.Generator:
    """A random stream of its own for each (seed, names): nothing depends on the order of calls."""
    return torch.Generator().manual_seed(int(sha256(canonical([seed, *names]))[:15], 16))


def flatten(params: Mapping[str, Params]) -> dict[str, Tensor]:
    """{address: {name: tensor}} -> {"address/name": tensor}, the keys on disk."""
    return {f"{address}/{name}": tensor for address, p in params.items() for name, tensor in p.items()}


def unflatten(tensors: Mapping[str, Tensor]) -> dict[str, Params]:
    """The inverse of ``flatten``: what follows the last slash is the parameter's name."""
    params: dict[str, Params] = {}
    for key, tensor in tensors.items():
        address, name = key.rsplit("/", 1)
        params.setdefault(address, {})[name] = tensor
    return params


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Over names, types, shapes and bytes, in the order of the names."""
    parts: list[bytes | memoryview] = []
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        parts.append(canonical([name, str(tensor.dtype), list(tensor.shape)]))
        parts.append(tensor.reshape(-1).view(torch.uint8).numpy().data)  # not copied
    return sha256(*parts)
