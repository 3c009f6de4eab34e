"""A gate: one number a text, between 0 and 1, by which a module is multiplied."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.method.base import Params

WEIGHT, BIAS = "gate", "gate_bias"
"""The names of a gate's parameters, (n, d) and (n,), beside those of the method that it multiplies."""


def fresh(count: int, width: int, rng: torch.Generator) -> Params:
    """So many gates that read states of this width: w from N(0, 0.02), b zero, so that each starts near 1/2."""
    return {WEIGHT: torch.randn(count, width, generator=rng) * 0.02, BIAS: torch.zeros(count)}


def count(p: Params) -> int:
    """How many gates are among these parameters."""
    return p[BIAS].shape[-1] if BIAS in p else 0


def opening(p: Params, read: Tensor, mask: Tensor | None) -> Tensor:
    """(B, T, d), (B, T) -> (B, n): g = Σ_t m_t σ(w · h_t + b) / max(1, Σ_t m_t)  (Mao et al. 2022, §3.2).

    The mean runs over the tokens of the text alone, and over all where there is no mask. The original's code and
    `adapters` average over padding too, so that their answers depend on batch mates.
    """
    return _averaged(F.linear(read, p[WEIGHT], p[BIAS]), mask)


def routed(p: Params, slot: Tensor, read: Tensor, mask: Tensor | None) -> Tensor:
    """The same of a stack, (slots, n, d): each row by its own gates; 1 for a row without a slot (-1), come what may."""
    here, own = (slot >= 0)[:, None], slot.clamp_min(0)
    read = torch.where(here[..., None], read, 0.0)
    scores = torch.einsum("btd,bnd->btn", read, p[WEIGHT][own]) + p[BIAS][own][:, None]
    return torch.where(here, _averaged(scores, mask), 1.0)


def each(p: Params, read: Tensor, mask: Tensor | None) -> Tensor:
    """The same of a stack, (slots, n, d): of every slot on each row, (B, slots, n)."""
    slots, n, _ = p[WEIGHT].shape
    flat = {name: p[name].flatten(0, 1) for name in (WEIGHT, BIAS)}
    return opening(flat, read, mask).unflatten(-1, (slots, n))


def _averaged(scores: Tensor, mask: Tensor | None) -> Tensor:
    """At least in single precision: bfloat16 cannot count to 257."""
    opened = scores.sigmoid().to(torch.promote_types(scores.dtype, torch.float32))
    if mask is None:
        return opened.mean(1)
    live = mask.to(opened)[..., None]
    return (opened * live).sum(1) / live.sum(1).clamp_min(1.0)
