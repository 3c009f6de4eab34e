"""An adapter: a method and the tensors it learned, by site address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from continual.errors import ContinualError
from continual.files import canonical, sha256
from continual.folder import arguments
from continual.method import name_of
from continual.method.base import Described, Method, Params, WeightMethod
from continual.types import Shape

WEIGHTS = "encoder/weights"
"""The address of a weight method's tensors, which belong to no site."""


@dataclass(frozen=True)
class Adapter:
    """``params[address]`` for each site address ``"<layer>/<site>"``; empty for a method that acts on none."""

    method: Described
    params: dict[str, Params] = field(repr=False)

    @property
    def size(self) -> int:
        """Trainable parameters."""
        return sum(t.numel() for p in self.params.values() for k, t in p.items() if k not in self.method.fixed)

    def digest(self) -> str:
        facts = [name_of(self.method), arguments(self.method)]
        return sha256(canonical(facts), tensors_digest(flatten(self.params)).encode())


def fresh(method: Described, shapes: Mapping[str, Shape], weights: Mapping[str, Tensor], seed: int) -> Adapter:
    """A new adapter for an encoder with these sites and weights. Each site draws from its own stream f(seed, address).

    Raises ContinualError when the encoder lacks a site that the method targets.
    """
    if isinstance(method, WeightMethod):
        return Adapter(method, {WEIGHTS: method.init_weights(weights)})
    assert isinstance(method, Method)
    sites = {address.split("/")[1] for address in shapes}
    if missing := [target for target in method.targets if target not in sites]:
        raise ContinualError(f"method.targets has {missing}; this encoder's sites are: {', '.join(sorted(sites))}")
    params = {}
    for address, shape in shapes.items():
        if address.split("/")[1] in method.targets:
            params[address] = method.init(shape, generator(seed, address))
    return Adapter(method, params)


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
    parts: list[bytes] = []
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        parts.append(canonical([name, str(tensor.dtype), list(tensor.shape)]))
        parts.append(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha256(*parts)
