"""What is done to vectors entry by entry: sums, elected signs, random drops."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from continual.adapter import generator
from continual.space.vector import Vector


def added(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """Σ w_n v_n, of vectors with the same keys."""
    pairs = list(zip(vectors, weights, strict=True))
    return {key: torch.stack([one[key] * weight for one, weight in pairs]).sum(0) for key in vectors[0]}


def elected(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """γ = sgn(Σ_n v_n); the mean of w_n v_n over the n with sgn(v_n) = γ, entry by entry (Yadav et al. 2023, §4).

    Where the sum is exactly zero no sign is elected and the result is zero, as in the paper's formula. ``peft`` elects
    plus there, so that τ and -τ merge to |τ| there, and the merge of -τ_n is not minus that of τ_n. As in ``peft``
    weights do not vote: the paper has one, λ, which scales the result.
    """
    found: Vector = {}
    for key in vectors[0]:
        stack = torch.stack([one[key] for one in vectors])
        agree = stack.sign() == stack.sum(0).sign()  # zeros may agree with zero: they add nothing
        weight = torch.tensor(weights, dtype=stack.dtype).view(-1, *[1] * (stack.dim() - 1))
        found[key] = torch.where(agree, stack * weight, 0.0).sum(0) / agree.sum(0).clamp_min(1)
    return found


def dropped(vector: Vector, density: float, seed: int, name: str) -> Vector:
    """m ⊙ v / density, m 1 with probability ``density`` and else 0; each (seed, name, key) has a stream of its own."""
    return {
        key: torch.where(torch.rand(t.shape, generator=generator(seed, "dare", name, key)) < density, t / density, 0.0)
        for key, t in vector.items()
    }
