"""Data without behaviour, shared by every layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """Of a site: widths of its input and its output, and the attention heads where it has any."""

    d_in: int
    d_out: int
    heads: int = 0


@dataclass
class Batch:
    """Rows that go through the encoder together; B rows, T tokens.

    ids    (B, T) token ids, filled up with the tokenizer's padding id
    mask   (B, T) 1 on tokens, 0 on padding
    labels (B,)   class indices of each row's own task; -1 where there is none
    row    (B,)   64-bit content id of each row: the same text has the same id in every batch
    member (B,)   which loaded adapter answers each row; None: the only one, or all of them (a mix)
    step   (B,)   each row's training step, counted by its own member (for dropout); None outside training
    pooled (B, d) pooled states that were computed before: the encoder is skipped; None: it is run
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor
    row: Tensor
    member: Tensor | None = None
    step: Tensor | None = None
    pooled: Tensor | None = None
