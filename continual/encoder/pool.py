"""One vector for a text or an image, from the states of its tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, d), (B, T) -> (B, d): the mean over the tokens that are not padding."""
    weight = mask.to(states)[..., None]
    return (states * weight).sum(1) / weight.sum(1).clamp_min(1.0)


def first_pool(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, d) -> (B, d): the state of the first token ([CLS])."""
    return states[:, 0]


POOLS = {"mean": mean_pool, "cls": first_pool}
POOLER = "pooler"
"""The encoder's own: BERT's tanh of a linear map of [CLS], CLIP's state of the last token, SigLIP's attention."""
CHOICES = (*POOLS, POOLER)


def pooled(pooling: str, out: Any, states: Tensor, mask: Tensor) -> Tensor:
    """(B, d) of the encoder's output ``out``, whose states of the text's tokens are ``states``."""
    return out.pooler_output if pooling == POOLER else POOLS[pooling](states, mask)
