"""Data without behaviour, shared by every layer."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from continual.blocks import Blocks


@dataclass(frozen=True)
class Shape:
    """Of a site: widths of its input and its output; at an attention site how many heads share the width."""

    d_in: int
    d_out: int
    heads: int = 0


@dataclass
class Batch:
    """Units that go through the encoder together: U sequences of T tokens, or U images.

    A row of a task is one unit for most heads; a multiple-choice question has a unit per option, and a text longer than
    the encoder's limit has a unit per window where the head reads windows.

    inputs  (U, T) token ids, filled up with the tokenizer's padding id; or (U, 3, height, width) pixels
    mask    (U, T) 1 on tokens, 0 on padding; None for images, where every token counts
    segment (U, T) which of two texts each token is of, 0 or 1; None: all are of the first
    row     (U,)   64-bit content id of each unit: the same text has the same id in every batch
    example (U,)   which row of the batch each unit is of, ascending from 0; None: every unit is a row of its own
    targets what each kind of head is to answer, by the head's path: (u, …) for the u units of that kind, in order
    member  (U,)   which loaded adapter answers each unit; None: the only one, or all of them (a mix)
    blocks  how the members' units lie one behind the other, where each has as many; None: in any order
    real    (U,)   whether a unit is one of the task's; the others fill a batch up and count nowhere; None: all are
    step    (U,)   each unit's training step, counted by its own member (for dropout); None outside training
    pooled  (U, d) pooled states that were computed before: the encoder is skipped; None: it is run
    below   (U, T, d) states below the lowest site that holds a module, computed before: what is below is skipped
    """

    inputs: Tensor
    mask: Tensor | None
    row: Tensor
    example: Tensor | None = None
    targets: dict[Hashable, Tensor] = field(default_factory=dict)
    member: Tensor | None = None
    blocks: Blocks | None = None
    real: Tensor | None = None
    step: Tensor | None = None
    pooled: Tensor | None = None
    segment: Tensor | None = None
    below: Tensor | None = None


class States(NamedTuple):
    """What an encoder says of a batch: (U, T, d) of each token, (U, d) pooled, and the (U, T) mask of both."""

    tokens: Tensor
    pooled: Tensor
    mask: Tensor
