"""UniPELT gates over stored modules of different methods: one scalar per module, layer and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.adapter import Adapter, generator
from continual.composition.base import Mixer, normal
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Parts, Site
from continual.errors import ContinualError


class _Gates(Mixer):
    """g_n = Σ_t m_t σ(w_n · h_t + b_n) / Σ_t m_t,  delta = Σ_n g_n z_n  (Mao et al. 2022, §3.2).

    h is what the n-th module reads: the site's input for LoRA, its output for a bottleneck. The mean runs over the
    tokens of the text alone; the reference code averages over padding too, so that its answers depend on batch mates.
    In the reference a gate takes the place of LoRA's alpha/rank; over stored modules it multiplies what was stored,
    alpha/rank included. w from N(0, 0.02), b zero: every gate starts near 1/2.
    """

    kind: ClassVar[Literal["attention", "gate"]] = "gate"

    def __init__(self, site: Site, rng: torch.Generator) -> None:
        super().__init__()
        widths = [(g.method.reads, len(g.owners)) for g in site.stacks]
        shape = site.shape
        self.weight = nn.ParameterList(
            normal(rng, n, shape.d_in if reads == "x" else shape.d_out) for reads, n in widths
        )
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(n)) for _, n in widths)

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        gates = torch.cat(
            [F.linear(read, w, b) for (read, _), w, b in zip(parts.reads, self.weight, self.bias, strict=True)], -1
        ).sigmoid()
        live = mask.to(gates)[..., None]
        return (gates * live).sum(1, keepdim=True) / live.sum(1, keepdim=True).clamp_min(1.0)


@dataclass(frozen=True)
class UniPELT:
    """Gates over the target's own modules, one per method; those that the run has not learned are learned first.

    Trains w and b of every module and site, and the head.
    """

    lr: float | None = 1e-3
    epochs: int | None = None
    methods: tuple[str, ...] = ("bottleneck", "lora")

    sources: ClassVar[Literal["stream", "target"]] = "target"

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        if not any(adapter.params for adapter in adapters):
            raise ContinualError("unipelt needs stored modules with sites; these have none (method=head?)")
        model.load(adapters)
        model.mix(lambda site: _Gates(site, generator(seed, "unipelt", site.address)))

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        return 0.0
