"""AdapterFusion: attention over the deltas of stored adapters, per token."""

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


class _Attention(Mixer):
    """s_n = (W_q y + b_q) · W_k z_n,  w = softmax_n(s),  delta = W_v Σ_n w_n z_n  (Pfeiffer et al. 2021, §3.2).

    z_n is the n-th adapter's delta. The key bias of the reference is left out: it adds one constant to all scores,
    which the softmax ignores, so its gradient is zero. With q' = W_kᵀ q the scores are q' · z_n, and both products
    run in rank space (``Parts``). W_v starts at the identity (1e-6 off the diagonal), so training starts at a
    near-uniform average of the adapters.
    """

    kind: ClassVar[Literal["attention", "gate"]] = "attention"

    def __init__(self, d: int, rng: torch.Generator) -> None:
        super().__init__()
        self.query = normal(rng, d, d)
        self.query_bias = nn.Parameter(torch.zeros(d))
        self.key = normal(rng, d, d)
        self.value = nn.Parameter(torch.full((d, d), 1e-6).fill_diagonal_(1.0))

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        query = F.linear(F.linear(y, self.query, self.query_bias), self.key.T)
        return parts.dot(query).softmax(-1)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        return F.linear(super().forward(x, y, mask, parts), self.value)


@dataclass(frozen=True)
class Fusion:
    """AdapterFusion over the modules of the stream. Trains W_q, W_k, W_v of every site, and the target's head.

    ``regularizer`` · Σ ‖I − W_v‖²_F is part of every training loss (0.01 in the paper).
    """

    regularizer: float = 0.01
    lr: float | None = 3e-4
    epochs: int | None = None

    sources: ClassVar[Literal["stream", "target"]] = "stream"

    @property
    def methods(self) -> tuple[str, ...]:
        """None beyond those of the stream."""
        return ()

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        if not any(adapter.params for adapter in adapters):
            raise ContinualError("fusion needs stored adapters with sites; these have none (method=head?)")
        model.load(adapters)

        def attention(site: Site) -> Mixer:
            return _Attention(site.shape.d_out, generator(seed, "fusion", site.address))

        model.mix(attention)

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        distances = [
            (torch.eye(len(mixer.value), device=mixer.value.device) - mixer.value).square().sum()
            for mixer in model.mixers().values()
            if isinstance(mixer, _Attention)
        ]
        return self.regularizer * torch.stack(distances).sum()
