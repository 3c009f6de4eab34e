"""One head for all tasks of a stream: which of its outputs is which label, and which of them compete."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.errors import ContinualError
from continual.head.base import COMMON
from continual.head.classify import Classify
from continual.method.base import Params
from continual.stream.base import Example, Rows, Scenario, Task
from continual.stream.stored import labels_of, relabelled
from continual.stream.text import Reader
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Outputs:
    """The outputs of one growing classification head over the tasks of a stream, in the order of their first arrival.

    scenario "task": every task has outputs of its own; "domain" and "class": tasks that name a label alike share it.
    Raises ContinualError for a task whose head does not choose one class.
    """

    tasks: tuple[Task, ...]
    scenario: Scenario

    def __post_init__(self) -> None:
        other = [f"{task.name} ({task.head})" for task in self.tasks if task.head != "classify"]
        if other:
            raise ContinualError(
                "one head answers all tasks, so each must be of head classify; got " + ", ".join(other) + ". "
                "Leave them out, or choose strategy=isolated or strategy=sequential with scenario=task"
            )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of every output."""
        found = {name: None for index in range(len(self.tasks)) for name in self._own(index)}
        return tuple(found)

    def of(self, index: int) -> tuple[int, ...]:
        """The outputs of a task's labels, in the order of its labels."""
        return self._of[index]

    def count(self, after: int) -> int:
        """How many outputs there are once task ``after`` was learned."""
        return 1 + max(max(outputs) for outputs in self._of[: after + 1])

    def rows(self, index: int, rows: Rows) -> Rows:
        """Rows of a task with the number of the output for the number of the label."""
        own = self.of(index)
        return relabelled(rows, [own[label] for label in labels_of(rows)])

    def task(self, index: int, after: int) -> Task:
        """A task as the one head answers it once ``after`` was learned: among all of its outputs."""
        task, known = self.tasks[index], self._splits
        if index not in known:
            known[index] = {split: self.rows(index, held) for split, held in task.splits.items()}
        return replace(task, labels=self.names[: self.count(after)], **known[index])

    def head(self, after: int) -> Classify | Within:
        """With task identities only the labels of a row's own task compete."""
        if self.scenario != "task":
            return Classify()
        owner = {output: index for index in range(after + 1) for output in self.of(index)}
        return Within(tuple(owner[output] for output in range(self.count(after))))

    def rivals(self, after: int) -> tuple[tuple[int, ...], ...]:
        """The outputs that there are once task ``after`` was learned, in the groups in which they compete."""
        if self.scenario != "task":
            return (tuple(range(self.count(after))),)
        return tuple(self.of(index) for index in range(after + 1))

    def own(self, params: Params, index: int) -> Params:
        """Of the one head what answers a task's labels, as a head of the task alone."""
        own = list(self.of(index))
        return {name: tensor if name in COMMON else tensor[own] for name, tensor in params.items()}

    @cached_property
    def _splits(self) -> dict[int, dict[str, Rows]]:
        """Rows of tasks with the numbers of outputs, once they were asked for: they are the same after every task."""
        return {}

    @cached_property
    def _of(self) -> list[tuple[int, ...]]:
        number = {name: i for i, name in enumerate(self.names)}
        return [tuple(number[name] for name in self._own(index)) for index in range(len(self.tasks))]

    def _own(self, index: int) -> list[str]:
        task = self.tasks[index]
        return [f"{task.name}/{label}" for label in task.labels] if self.scenario == "task" else list(task.labels)


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

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor, member: Tensor) -> Tensor:
        owner = torch.tensor(self.owner, device=logits.device)
        return F.cross_entropy(self._among(logits, owner[targets]), targets, reduction="none")

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        return self._among(logits, torch.tensor(marks, device=logits.device)).argmax(-1).tolist()

    def _among(self, logits: Tensor, task: Tensor) -> Tensor:
        owner = torch.tensor(self.owner, device=logits.device)
        others = owner != task[:, None]
        beyond = logits.shape[1] - len(owner)  # beside a wider head the bank has padded this one
        return logits.masked_fill(F.pad(others, (0, beyond), value=True), float("-inf"))
