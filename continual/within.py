"""One head for tasks whose identity is given: of its outputs only those of a row's own task compete."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.head.classify import Classify
from continual.head.tag import Tag
from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Within:
    """``Classify`` where a row's label competes with those of its own task alone: several heads in one.

    loss = −log softmax over {c: owner[c] = owner[y]}, so that no other output has a gradient.

    owner  the task of each output
    """

    owner: tuple[int, ...]

    reads: ClassVar[Literal["pooled", "tokens"]] = "pooled"
    scores: ClassVar[tuple[str, ...]] = Classify.scores
    classes: ClassVar[bool] = True

    def path(self) -> Hashable:
        return ("within", self.owner)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        return Classify().problem(row, labels)

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        read = Classify().read(reader, rows, labels)
        return replace(read, kind=self.path(), marks=tuple(self.owner[label] for label in read.wanted))

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return Classify().init(d, labels, rng)

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return Classify().logits(p, states, mask)

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        owner = _on(self.owner, logits.device)
        return F.cross_entropy(_among(logits, owner, owner[targets]), targets, reduction="none")

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        owner = _on(self.owner, logits.device)
        return _among(logits, owner, torch.tensor(marks, device=logits.device)).argmax(-1).tolist()


@dataclass(frozen=True)
class WithinTags:
    """``Tag`` where the tags of a word's own task compete alone. Every task has an "O" of its own.

    owner  the task of each output
    """

    owner: tuple[int, ...]

    reads: ClassVar[Literal["pooled", "tokens"]] = "tokens"
    scores: ClassVar[tuple[str, ...]] = Tag.scores
    classes: ClassVar[bool] = False

    def path(self) -> Hashable:
        return ("within tags", self.owner)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        return Tag().problem(row, labels)

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        """Marks are (task, that of ``Tag``): a word without a token is answered "O" of its task, or its first label."""
        read = Tag().read(reader, rows, labels)
        outside = {task: self.owner.index(task) for task in self.owner}
        outside |= {task: c for c, task in enumerate(self.owner) if labels[c].rpartition("/")[2] == "O"}
        _, rows_of = read.units(range(len(read)))
        tasks = [self.owner[read.wanted[row][0]] for row in rows_of.tolist()]
        marks = [(t, mark._replace(rest=outside[t])) for t, mark in zip(tasks, read.marks or (), strict=True)]
        return replace(read, kind=self.path(), marks=tuple(marks))

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return Tag().init(d, labels, rng)

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return Tag().logits(p, states, mask)

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        owner = _on(self.owner, logits.device)
        tasks = owner[targets.amax(1).clamp_min(0)]  # a window without a word has no loss, whatever its task
        return Tag().loss(_among(logits, owner, tasks), targets, example, member)

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        owner = _on(self.owner, logits.device)
        tasks = torch.tensor([task for task, _ in marks], device=logits.device)
        return Tag().decode(_among(logits, owner, tasks), [mark for _, mark in marks], example)


@lru_cache(maxsize=64)
def _on(owner: tuple[int, ...], device: torch.device) -> Tensor:
    """Moved to the device once: a step that is captured may ask the host for nothing."""
    return torch.tensor(owner, device=device)


def _among(logits: Tensor, owner: Tensor, task: Tensor) -> Tensor:
    """(u, …, C) logits, (u,) tasks -> those of other tasks -inf, and what the bank padded beside a wider head."""
    beyond = logits.shape[-1] - len(owner)
    others = F.pad(owner != task[:, None], (0, beyond), value=True)
    return logits.masked_fill(others.reshape(len(task), *[1] * (logits.dim() - 2), logits.shape[-1]), float("-inf"))
