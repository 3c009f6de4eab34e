"""Stored adapters that share a text among them: each changes the tokens of its own stretch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.composition.base import Mixer, require_members
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.parts import Parts
from continual.errors import ContinualError

MILLION = 1_000_000


class _Stretches(Mixer):
    """w_tn = 1 for the module n in whose stretch token t is, else 0. Tokens are counted without padding, from 0.

    Token t is of the module whose number is how many of the ``ends`` are reached: t >= end, or, where these are shares,
    t >= end · length of the text. Shares are whole millionths: in bfloat16 a third is more than a third.
    """

    kind: ClassVar[Literal["attention", "gate", "fixed"]] = "fixed"
    ends: Tensor
    members: Tensor

    def __init__(self, ends: Tensor, shares: bool, members: tuple[int, ...]) -> None:
        super().__init__()
        self.shares = shares
        self.register_buffer("ends", ends, persistent=False)  # the composition's arguments say what they are
        self.register_buffer("members", torch.tensor(members), persistent=False)

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        live = mask.long()
        position, length = live.cumsum(1)[..., None] - 1, live.sum(1)[:, None, None]
        reached = position * MILLION >= self.ends * length if self.shares else position >= self.ends
        return (reached.sum(-1, keepdim=True) == self.members).to(y)


@dataclass(frozen=True)
class Split:
    """One text, cut into as many stretches as there are modules of the stream. Trains the target's head alone.

    lengths  tokens of each module but the last, which takes the rest; the first token is the text's [CLS]
    shares   instead: of the text's own tokens, so that padding moves nothing; () with no lengths: equal ones

    `adapters`' Split takes the length of every stretch and refuses a batch that is not exactly as long as their sum.
    """

    lengths: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    lr: float | None = None
    epochs: int | None = None

    sources: ClassVar[Literal["stream", "target"]] = "stream"

    def __post_init__(self) -> None:
        if self.lengths and self.shares:
            raise ContinualError("composition.split has lengths and shares; give one of them")
        if any(length < 0 for length in self.lengths):
            raise ContinualError(f"composition.split.lengths must be 0 or more, got {list(self.lengths)}")
        if any(not share >= 0 for share in self.shares) or sum(self.shares) > 1 + 1e-9:
            raise ContinualError(
                f"composition.split.shares must be 0 or more, with a sum of at most 1, got {list(self.shares)}"
            )

    @property
    def methods(self) -> tuple[str, ...]:
        """None beyond those of the stream."""
        return ()

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        """Raises ContinualError unless all adapters but the last have a length or share, and as ``require_members``."""
        require_members("split", adapters)
        count = len(adapters)
        given = self.lengths or self.shares or (1 / count,) * (count - 1)
        if len(given) != count - 1:
            raise ContinualError(
                f"composition.split.{'lengths' if self.lengths else 'shares'} has {len(given)} numbers; expected one "
                f"for each of {count} modules but the last, which takes the rest: {count - 1}"
            )
        ends = [end if self.lengths else int(end * MILLION + 1e-6) for end in accumulate(given)]
        model.load(adapters)
        model.mix(lambda site: _Stretches(torch.tensor(ends, dtype=torch.long), not self.lengths, site.members))

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        return 0.0
