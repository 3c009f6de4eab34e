"""UniPELT gates over stored modules of different methods: one scalar per module, layer and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from continual import gate
from continual.adapter import Adapter, generator
from continual.composition.base import Mixer, normal, require_members
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.attention import AttentionSite
from continual.encoder.parts import Parts
from continual.encoder.site import Site


class _Gates(Mixer):
    """g_n = Σ_t m_t σ(w_n · h_t + b_n) / Σ_t m_t,  delta = Σ_n g_n z_n  (Mao et al. 2022, §3.2).

    h is what the n-th module reads: the site's input for LoRA, its output for a bottleneck, the states that enter the
    attention for a prefix, whose keys and values become g_n P_K and g_n P_V. The mean runs over the tokens of the text
    alone (``continual/gate.py``). In the reference a gate takes the place of LoRA's alpha/rank; over stored modules it
    multiplies what was stored, alpha/rank included, and a gate of a module's own too. Every gate starts near 1/2.
    """

    kind: ClassVar[Literal["attention", "gate", "fixed"]] = "gate"

    def __init__(self, site: Site | AttentionSite, rng: torch.Generator) -> None:
        super().__init__()
        widths = [(g.method.reads, len(g.owners)) for g in site.stacks]
        shape = site.shape
        self.weight = nn.ParameterList(
            normal(rng, n, shape.d_in if reads == "x" else shape.d_out) for reads, n in widths
        )
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(n)) for _, n in widths)

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        gates = [
            gate.opening({gate.WEIGHT: w, gate.BIAS: b}, read, mask).to(read)
            for (read, _), w, b in zip(parts.reads, self.weight, self.bias, strict=True)
        ]
        return torch.cat(gates, -1)[:, None]


@dataclass(frozen=True)
class UniPELT:
    """Gates over stored modules of different methods, one per module, text and site.

    A run takes the target's own modules, one for each of ``methods``; those that it has not learned are learned first.
    (``gates`` takes those of all tasks; ``install`` any.) Trains w and b of every module and site, and the head.
    Prefixes are gated as published: the columns of all stand before the text, each multiplied by its gate; at 0 they
    are keys of zero, which still take their share of the softmax, not "no prefix". ``prefix`` is not among the methods
    by default: some families have no place for one. Prompts are refused.
    """

    lr: float | None = 1e-3
    epochs: int | None = None
    methods: tuple[str, ...] = ("bottleneck", "lora")

    sources: ClassVar[Literal["stream", "target"]] = "target"

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        require_members("unipelt", adapters)
        model.load(adapters)

        def gates(site: Site | AttentionSite) -> Mixer:
            return _Gates(site, generator(seed, "unipelt", site.address))

        model.mix(gates, prefixes=gates)

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        return 0.0
