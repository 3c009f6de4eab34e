"""What turns an encoder's states into answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader
from continual.stream.units import Encoded

COMMON = frozenset({"projection"})
"""Names of tensors that all outputs of a head have in common; they are drawn, never trained, and never padded."""


class Head(Protocol):
    """One kind of question. Its tensors are small, stored beside the adapter, and stacked like one.

    reads   "pooled": logits from one vector per unit · "tokens": from the state of every token
    scores  the files of ``continual/score`` that can judge its answers; the first does where a task names none
    classes whether an answer is one of the task's labels, so that the mean of a class means something

    The first axis of every tensor is the head's outputs, but for those in ``COMMON``. Beside a head with more outputs a
    head is padded to as many: a logit that is not its own is -inf, which ``loss`` and ``decode`` must take as a label
    that is never meant.
    """

    reads: ClassVar[Literal["pooled", "tokens"]]
    scores: ClassVar[tuple[str, ...]]
    classes: ClassVar[bool]

    def path(self) -> Hashable:
        """Heads with equal paths run the same code."""
        ...

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        """What is wrong with a row, "expected …, got …"; None where nothing is."""
        ...

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        """The rows as the encoder reads them, and what is to be answered."""
        ...

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params: ...
    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        """Of one unit: (d,) -> (C,), or (T, d), (T,) -> (T, C); further axes may stand in front of all."""
        ...

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        """(u, …) logits and targets of the units -> (rows,) one loss per row; a member takes the mean of its own.

        ``example`` (u,) is the row of each unit, ascending from 0, every row there; None: each unit is a row of its
        own. ``member`` (u,) is whose it is: rows of different members must not meet. A step can be captured as a CUDA
        graph only where this asks for no number of a tensor.
        """
        ...

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        """(u, …) logits, what ``read`` noted of each unit, (u,) the row of each -> one answer per row."""
        ...


def is_index(value: object, size: int) -> bool:
    """Whether something is a whole number from 0 to size - 1; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < size


def texts(row: Example) -> tuple[str, ...]:
    """What a head that reads several texts, or words, finds in a row that ``problem`` let pass."""
    return cast("tuple[str, ...]", row.text)


def affine(p: Params, states: Tensor) -> Tensor:
    """(…, d) -> (…, C): W h + b; with a projection P (M, d) among the tensors relu(P h) stands in the place of h."""
    read = F.relu(F.linear(states, p["projection"])) if "projection" in p else states
    return F.linear(read, p["weight"], p["bias"])


def exact(logits: Tensor) -> Tensor:
    """A tensor of any shape in float32 at least: bfloat16 has too few digits for sums over tokens, labels or rows."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def row_means(sums: Tensor, counts: Tensor, example: Tensor | None) -> Tensor:
    """(u,) sums over things of a unit, (u,) how many they are -> (rows,) the mean over those of a row; 0 without any.

    ``example`` None: each unit is a row.

    >>> row_means(torch.tensor([6.0, 2.0, 5.0]), torch.tensor([3, 1, 2]), torch.tensor([0, 0, 1]))
    tensor([2.0000, 2.5000])
    """
    if example is None:
        return sums / counts.to(sums.dtype).clamp_min(1)
    rows = int(example[-1]) + 1
    total, count = (sums.new_zeros(rows).index_add(0, example, t.to(sums.dtype)) for t in (sums, counts))
    return total / count.clamp_min(1)
