"""AdapterFusion: attention over the deltas of stored adapters, per token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.adapter import Adapter, generator
from continual.composition.base import Mixer, normal, require_members
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.parts import Parts
from continual.encoder.site import Site
from continual.errors import ContinualError
from continual.prune import without


class _Attention(Mixer):
    """s_n = (W_q y + b_q) · W_k z_n,  w = softmax_n(s / τ),  delta = W_v Σ_n w_n z_n  (Pfeiffer et al. 2021, §3.2).

    z_n is the n-th adapter's delta. The key bias of the reference is left out: it adds one constant to all scores,
    which the softmax ignores, so its gradient is zero. With q' = W_kᵀ q the scores are q' · z_n, and both products
    run in rank space (``Parts``). W_v starts at the identity (1e-6 off the diagonal), so training starts at a
    near-uniform average of the adapters. Without W_v it is the identity: the "static" fusion of `adapters`.

    τ = max(1, start - cooling · steps). The reference lets τ fall in every forward, evaluation too, and forgets it when
    it is saved. Here ``steps`` counts backward passes, so evaluation moves nothing and a layer that is computed again
    for its gradients is not counted twice; it is a tensor of the mixer and stored with it. It is a whole number, as
    50 - 0.05 is 50 in bfloat16.
    """

    kind: ClassVar[Literal["attention", "gate", "fixed"]] = "attention"
    steps: Tensor | None

    def __init__(self, d: int, rng: torch.Generator, fusion: Fusion) -> None:
        super().__init__()
        self.query = normal(rng, d, d)
        self.query_bias = nn.Parameter(torch.zeros(d))
        self.key = normal(rng, d, d)
        self.value = nn.Parameter(torch.full((d, d), 1e-6).fill_diagonal_(1.0)) if fusion.values else None
        self.start, self.cooling = fusion.temperature, fusion.cooling
        self.register_buffer("steps", torch.tensor(0) if fusion.temperature > 1 else None)
        if self.steps is not None:
            self.query.register_post_accumulate_grad_hook(self._cool)

    def attend(self, scores: Tensor) -> Tensor:
        """(B, T, N) -> (B, T, N), softmax_n(s / τ) with τ as it is now."""
        if self.steps is not None:
            scores = scores / (self.start - self.cooling * self.steps).clamp_min(1.0)
        return scores.softmax(-1)

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        return self.attend(parts.dot(self._query(y)))

    def forward(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        return parts.mix(self.weights(x, y, mask, parts), self.value)

    def _query(self, y: Tensor) -> Tensor:
        """q' = W_kᵀ (W_q y + b_q)."""
        if torch.is_grad_enabled() or y.shape[:2].numel() <= len(self.query):
            return F.linear(F.linear(y, self.query, self.query_bias), self.key.T)
        # Nothing is learned, and there are more tokens than channels: W_kᵀ W_q saves each token one of two products.
        return F.linear(y, self.key.T @ self.query, F.linear(self.query_bias, self.key.T))

    def _cool(self, _: Tensor) -> None:
        assert self.steps is not None
        self.steps.add_(1)


def direct(mixer: _Attention, x: Tensor, y: Tensor, parts: Parts) -> Tensor:
    """What a fusion's mixer gives, as the paper writes it: keys and values of all N deltas are formed.

    (B, T, d_in), (B, T, d_out) -> (B, T, d_out). The reference that rank space is held against, and measured against.
    """
    deltas = parts.deltas()  # (N, B, T, d)
    query, keys = F.linear(y, mixer.query, mixer.query_bias), F.linear(deltas, mixer.key)
    values = deltas if mixer.value is None else F.linear(deltas, mixer.value)
    weights = mixer.attend(torch.einsum("btd,nbtd->btn", query, keys))
    return torch.einsum("btn,nbtd->btd", weights, values)


@dataclass(frozen=True)
class Fusion:
    """AdapterFusion over the modules of the stream. Trains W_q, W_k, W_v of every site, and the target's head.

    regularizer  times Σ ‖I − W_v‖²_F is part of every training loss (0.01 in the paper)
    values       false: no W_v and no regularizer
    temperature  divides the scores at the start (`adapters`: 1, or 50), and falls by ``cooling`` a step, down to 1
    kept         {address: numbers of the modules that stay there}, where not all do (``continual/prune.py``)
    """

    regularizer: float = 0.01
    values: bool = True
    temperature: float = 1.0
    cooling: float = 0.05
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    lr: float | None = 3e-4
    epochs: int | None = None

    sources: ClassVar[Literal["stream", "target"]] = "stream"

    def __post_init__(self) -> None:
        if not (1 <= self.temperature < float("inf") and 0 <= self.cooling < float("inf")):
            raise ContinualError(
                f"composition.fusion: expected a temperature of at least 1 and a cooling of at least 0, "
                f"got {self.temperature} and {self.cooling}"
            )

    @property
    def methods(self) -> tuple[str, ...]:
        """None beyond those of the stream."""
        return ()

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        require_members("fusion", adapters)
        model.load(without(adapters, self.kept))

        def attention(site: Site) -> Mixer:
            return _Attention(site.shape.d_out, generator(seed, "fusion", site.address), self)

        model.mix(attention)

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        distances = [
            (torch.eye(len(mixer.value), device=mixer.value.device) - mixer.value).square().sum()
            for mixer in model.mixers().values()
            if isinstance(mixer, _Attention) and mixer.value is not None
        ]
        return self.regularizer * torch.stack(distances).sum() if distances else 0.0
