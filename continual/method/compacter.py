"""Compacters: bottlenecks whose matrices are sums of Kronecker products."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.activation import activation
from continual.errors import ContinualError
from continual.method.base import Params, require_dropout
from continual.types import Shape


@dataclass(frozen=True)
class Compacter:
    """delta = f(y D + d) U + u, D and U sums of n products ruleᵢ ⊗ (leftᵢ rightᵢ) (Mahabadi et al. 2021, eq. 5).

    n is ``phm_dim``; ruleᵢ is (n, n), leftᵢ (in/n, k) and rightᵢ (k, out/n), k = ``phm_rank``. On ``attn_out`` and
    ``ffn_out`` it is ``compacter`` of `adapters`, on ``ffn_norm`` its ``compacter++``. Differences to them:

    - The rules are shared over all layers there. A method knows one site only, so every D and U has its own: the same
      functions and more, for n³ parameters a matrix (64 for n = 4; a whole Compacter at d = 768 has about 2,500).
    - The width in the middle, d / reduction_factor, is rounded up to a multiple of n; the reference refuses others.
    - left of U is zero, so that a fresh adapter changes nothing, and the other factors are drawn so that the entries of
      D are as large as a linear layer's and those of U move as far in a step as its; there they begin near zero.
    """

    reduction_factor: float = 32.0
    phm_dim: int = 4
    phm_rank: int = 1
    activation: str = "gelu"
    dropout: float = 0.0
    targets: tuple[str, ...] = ("attn_out", "ffn_out")
    layers: str | None = None

    lr: ClassVar[float] = 1e-2
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "y"
    coded: ClassVar[tuple[str, ...]] = ("down_rule", "down_left", "down_right", "down_bias")

    def __post_init__(self) -> None:
        activation(self.activation)
        require_dropout(self.dropout)
        for name, value in (
            ("reduction_factor", self.reduction_factor),
            ("phm_dim", self.phm_dim),
            ("phm_rank", self.phm_rank),
        ):
            if value < 1:
                raise ContinualError(f"method.{name} must be at least 1, got {value}")

    def path(self) -> Hashable:
        return ("compacter", self.activation, self.phm_dim, self.dropout)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        """Raises ContinualError where ``phm_dim`` does not divide the site's width."""
        d, n, k = shape.d_out, self.phm_dim, self.phm_rank
        if d % n:
            raise ContinualError(f"method.phm_dim is {n}; expected a divisor of the site's width {d}")
        wide, narrow = d // n, -(-max(1, int(d // self.reduction_factor)) // n)

        def drawn(variance: float, *size: int) -> Tensor:
            return torch.randn(size, generator=rng) * variance**0.5

        # The variance of an entry of a product is n · k times that of its three factors' entries: 1 / (3 d) for D.
        return {
            "down_rule": drawn(1 / n, n, n, n),
            "down_left": drawn(1 / (3 * d), n, wide, k),
            "down_right": drawn(1 / k, n, k, narrow),
            "down_bias": torch.zeros(n, narrow),
            "up_rule": drawn(1 / n, n, n, n),
            "up_left": torch.zeros(n, narrow, k),
            "up_right": drawn(1 / k, n, k, wide),
            "up_bias": torch.zeros(d),
        }

    def code(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        # The first axis is n, or N · n for N adapters one below the other.
        several = (p[name].unflatten(0, (-1, self.phm_dim)) for name in ("down_rule", "down_left", "down_right"))
        down = _matrix(*several).mT.flatten(0, 1)
        return activation(self.activation)(F.linear(y, down, p["down_bias"].flatten()))

    def up(self, p: Params) -> tuple[Tensor, Tensor]:
        return _matrix(p["up_rule"], p["up_left"], p["up_right"]).mT, p["up_bias"]

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return F.linear(self.code(p, x, y), *self.up(p))


def _matrix(rule: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """(…, n, n, n), (…, n, a, k), (…, n, k, b) -> (…, n·a, n·b): Σᵢ ruleᵢ ⊗ (leftᵢ rightᵢ)."""
    return torch.einsum("...ipq,...iab->...paqb", rule, left @ right).flatten(-4, -3).flatten(-2)
