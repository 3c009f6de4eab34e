"""Stored adapters one after the other: each reads what those before it left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from continual.adapter import Adapter
from continual.composition.base import Mixer, require_members
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.parts import Parts
from continual.encoder.site import Site
from continual.encoder.survey import layers_of
from continual.method.base import Method


class _Chain(Mixer):
    """delta = δ_1(x, y) + δ_2(x', y') + …, where x', y' are what the site's places hold after δ_1 was added.

    Behind a linear y' = y + δ_1, and x, the linear's input, stays: so methods that read x (LoRA) simply add up. At a
    norm x' = x + δ_1 and y' = LN(x'); at a linear's input both are x + δ_1. The parts of one bundle read the same.
    """

    kind: ClassVar[Literal["attention", "gate", "fixed"]] = "fixed"

    def __init__(self, site: Site, base: nn.Module) -> None:
        super().__init__()
        self.how = site.place.how
        self.base = (base,)  # in a tuple: it is the encoder's, no part of this one
        places = [(owner, number, slot) for number, g in enumerate(site.stacks) for slot, owner in enumerate(g.owners)]
        self.order = {owner: [place[1:] for place in places if place[0] == owner] for owner, *_ in sorted(places)}

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        """Each delta in full; which ones these are depends on those before."""
        return y.new_ones(len(y), 1, sum(map(len, self.order.values())))

    def forward(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        total = y.new_zeros(())
        for places in self.order.values():
            delta = y.new_zeros(())
            for number, slot in places:
                group = parts.groups[number]
                own = {name: tensor[slot] for name, tensor in group.every().items()}
                one = cast(Method, group.method).delta(own, x, y)
                if group.gates:  # of the module's own
                    one = one * group.openings(x, y, mask)[..., slot, None].to(one)
                delta = delta + one
            total = total + delta
            x, y = self._after(delta, x, y)
        return total

    def _after(self, delta: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.how == "norm":
            [norm] = self.base
            assert isinstance(norm, nn.LayerNorm)
            # Not norm(x): that would come through this site once more.
            return x + delta, F.layer_norm(x + delta, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        return (x + delta, x + delta) if self.how == "input" else (x, y + delta)


@dataclass(frozen=True)
class Stack:
    """The modules of the stream one after the other at every site, in their order. Trains the target's head alone.

    Of bottlenecks this is `adapters`' Stack exactly. There a second LoRA reads the first one's delta in place of its
    own input, and of parallel adapters all but the last are lost; here both kinds read their own input and add up.
    """

    lr: float | None = None
    epochs: int | None = None

    sources: ClassVar[Literal["stream", "target"]] = "stream"

    @property
    def methods(self) -> tuple[str, ...]:
        """None beyond those of the stream."""
        return ()

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        require_members("stack", adapters)
        model.load(adapters)
        layers = list(layers_of(model.encoder, model.arch))

        def chain(site: Site) -> Mixer:
            return _Chain(site, layers[int(site.address.split("/")[0])].get_submodule(site.place.path))

        model.mix(chain)

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        return 0.0
