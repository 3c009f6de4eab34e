"""Bottleneck adapters."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.activation import activation
from continual.errors import ContinualError
from continual.method.base import Params, require_dropout
from continual.types import Shape


@dataclass(frozen=True)
class Bottleneck:
    """delta = scale · (f(n(y) Dᵀ + d) Uᵀ + u), rank = width / reduction_factor.

    The targets make it one adapter of the field or another. With z the output of a block's last linear, r what is added
    to it before the norm, and LN that norm, of an encoder that norms after its blocks:

    - ``ffn_norm``: LN(z + r + delta(LN(z + r))), Pfeiffer et al. 2021; ``seq_bn`` of `adapters`
    - ``attn_norm``, ``ffn_norm``: the same at both places; its ``double_seq_bn`` with ``original_ln_before``
    - ``attn_out``, ``ffn_out``: LN(z + delta(z) + r), Houlsby et al. 2019; its ``double_seq_bn``, there with silu
    - ``ffn_out``: the same after the FFN alone; its ``seq_bn`` without ``original_ln_before``
    - ``ffn_post``: LN(z + r) + delta(LN(z + r)), AdapterPlus (Steitz & Roth 2024); its ``seq_bn`` with
      ``original_ln_after`` and ``residual_before_ln`` false

    D (r, d) is Kaiming-uniform and U (d, r) zero, so that a fresh adapter changes nothing; the reference draws both
    from N(0, 0.02). ``normalize`` makes n a LayerNorm without weights of its own: those of ``ln_before`` are absorbed
    by D and d, as a learned scale of each channel is by U and u. A norm of the delta itself (``ln_after``) is not
    offered: a normed delta has no codes to mix in rank space, and its gradient has no bound where delta is zero.
    """

    reduction_factor: float = 16.0
    activation: str = "relu"
    scale: float = 1.0
    normalize: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ("ffn_norm",)
    layers: str | None = None

    lr: ClassVar[float] = 3e-3
    fixed: ClassVar[tuple[str, ...]] = ("scale",)
    reads: ClassVar[Literal["x", "y"]] = "y"
    coded: ClassVar[tuple[str, ...]] = ("down", "down_bias")

    def __post_init__(self) -> None:
        activation(self.activation)
        require_dropout(self.dropout)
        if self.reduction_factor < 1:
            raise ContinualError(f"method.reduction_factor must be at least 1, got {self.reduction_factor}")

    def path(self) -> Hashable:
        return ("bottleneck", self.activation, self.normalize, self.dropout)

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        d = shape.d_out
        rank = max(1, int(d // self.reduction_factor))
        down = torch.empty(rank, d)
        nn.init.kaiming_uniform_(down, a=5**0.5, generator=rng)
        return {
            "down": down,
            "down_bias": torch.zeros(rank),
            "up": torch.zeros(d, rank),
            "up_bias": torch.zeros(d),
            "scale": torch.tensor(float(self.scale)),
        }

    def code(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        if self.normalize:
            y = F.layer_norm(y, y.shape[-1:])
        return activation(self.activation)(F.linear(y, p["down"], p["down_bias"]))

    def up(self, p: Params) -> tuple[Tensor, Tensor]:
        return p["up"] * p["scale"], p["up_bias"] * p["scale"]

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        return F.linear(self.code(p, x, y), *self.up(p))
