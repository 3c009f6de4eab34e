"""What turns an encoder's states into answers."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from continual.method.base import Params


class Head(Protocol):
    """One kind of question. Its tensors are small, stored beside the adapter, and stacked like one.

    reads   "pooled": logits from one vector per row

    The first axis of every tensor is the labels. Beside a head with more labels a head is padded to as many: a logit
    that is not its own is -inf, which ``loss`` and ``decode`` must take as a label that is never meant.
    """

    reads: ClassVar[Literal["pooled"]]

    def path(self) -> Hashable: ...
    def init(self, d: int, labels: int, rng: torch.Generator) -> Params: ...
    def logits(self, p: Params, states: Tensor) -> Tensor:
        """(…, d) -> (…, C)."""
        ...

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B, C), (B,) -> (B,): one loss per row; each member takes the mean of its own."""
        ...

    def decode(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,) the answers, as indices of labels."""
        ...
