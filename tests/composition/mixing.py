"""What the composition tests share: a method without low rank, stacks of every mixture, and one site's sums by hand."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.composition.base import Mixer
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.parts import Parts
from continual.encoder.site import Site
from continual.method.base import Params
from continual.method.bitfit import BitFit
from continual.method.bottleneck import Bottleneck
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.types import Shape
from tests import tiny


@dataclass(frozen=True)
class Scale:
    """delta = y · (l - 1): diagonal, of full rank, so that composition has to form its deltas."""

    targets: tuple[str, ...] = ("ffn_norm",)
    layers: ClassVar[str | None] = None
    lr: ClassVar[float] = 1e-3
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "y"
    dropout: ClassVar[float] = 0.0

    def path(self) -> Hashable:
        return "scale"

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        return {"l": torch.ones(shape.d_out)}

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return y * (p["l"] - 1)


NORM = ("ffn_norm",)
STACKS = {
    "bottlenecks": [Bottleneck(8), Bottleneck(8)],
    "other ranks": [Bottleneck(16), Bottleneck(4, scale=2.0), Bottleneck(8)],
    "loras": [LoRA(rank=1, targets=NORM), LoRA(rank=4, alpha=3.0, targets=NORM)],
    "mixed": [Bottleneck(8), LoRA(rank=2, targets=NORM), Bottleneck(4)],
    "with a diagonal": [Scale(), Bottleneck(8), Scale(), LoRA(rank=2, targets=NORM)],
    "with a bias and a scale": [BitFit(targets=NORM), Bottleneck(8), IA3(targets=NORM), LoRA(rank=2, targets=NORM)],
}


def adapters(model: AdaptedEncoder, stack: str) -> list[Adapter]:
    return [tiny.trained(method, model, seed) for seed, method in enumerate(STACKS[stack])]


def scatter(model: AdaptedEncoder) -> None:
    """Moves all mixers far from their initial values."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for mixer in model.mixers().values():
            for parameter in mixer.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=rng).to(parameter) * 0.3)


def weights_at(model: AdaptedEncoder, address: str) -> list[Tensor]:
    """The attention of a site, in every forward that follows."""
    seen: list[Tensor] = []
    mixer = model.mixers()[address]
    mixer.register_forward_hook(lambda module, args, _: seen.append(module.weights(*args)))
    return seen


class ByHand:
    """While it is entered, the mixers use ``form(mixer, site, x, y, mask, deltas)`` in place of their own forward."""

    def __init__(self, model: AdaptedEncoder, form: Callable[..., Tensor]) -> None:
        self.sites = {id(mixer): model.sites[address] for address, mixer in model.mixers().items()}
        self.kind = type(next(iter(model.mixers().values())))
        self.form = form

    def __enter__(self) -> None:
        self.old = self.kind.forward

        def forward(mixer: Mixer, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
            site = self.sites[id(mixer)]
            return self.form(mixer, site, x, y, mask, deltas(site, x, y))

        self.kind.forward = forward

    def __exit__(self, *error: object) -> None:
        self.kind.forward = self.old


def deltas(site: Site, x: Tensor, y: Tensor) -> list[Tensor]:
    """Each member's delta, one at a time, through its unpadded parameters but with their gradients."""
    found = []
    for group in site.groups:
        for slot, sizes in enumerate(group.shapes):
            p = {n: t[slot][tuple(slice(size) for size in sizes[n])] for n, t in group.stack.items()}
            found.append(group.method.delta(p, x, y))
    return found
