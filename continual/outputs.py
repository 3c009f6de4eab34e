"""One head for all tasks of a stream: which of its outputs is which label, and which of them compete."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from continual import head
from continual.errors import ContinualError
from continual.head.base import COMMON, Head
from continual.method.base import Params
from continual.stream.base import Rows, Scenario, Task
from continual.stream.stored import labels_of, relabelled
from continual.within import Within, WithinTags

KINDS: dict[str, type[Within | WithinTags]] = {"classify": Within, "tag": WithinTags}
"""Heads whose outputs are labels, and the same head where only the labels of a row's own task compete."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of one growing head over the tasks of a stream, in the order of their first arrival.

    scenario "task": every task has outputs of its own; "domain" and "class": tasks that name a label alike share it,
    as tags share "O". ``kinds`` are the heads that it may be.
    Raises ContinualError for tasks whose heads are others, or not of one kind.
    """

    tasks: tuple[Task, ...]
    scenario: Scenario
    kinds: tuple[str, ...] = tuple(KINDS)

    def __post_init__(self) -> None:
        found = {task.head for task in self.tasks}
        if len(found) > 1 or not found <= set(self.kinds):
            listed = ", ".join(f"{task.name} ({task.head})" for task in self.tasks)
            raise ContinualError(
                f"one head answers all tasks, so all must be of head {' or all of head '.join(self.kinds)}; got "
                f"{listed}. Leave some out, or choose strategy=isolated or strategy=sequential with scenario=task"
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
        if self.tasks[index].head == "tag":
            return relabelled(rows, [tuple(own[label] for label in labels) for labels in labels_of(rows)])
        return relabelled(rows, [own[label] for label in labels_of(rows)])

    def task(self, index: int, after: int) -> Task:
        """A task as the one head answers it once ``after`` was learned: among all of its outputs."""
        task, known = self.tasks[index], self._splits
        if index not in known:
            known[index] = {split: self.rows(index, held) for split, held in task.splits.items()}
        return replace(task, labels=self.names[: self.count(after)], **known[index])

    def labels(self, after: int) -> tuple[str, ...]:
        """What the outputs of ``names`` are called in their tasks, as scores read them: "O" of every task."""
        called = {n: c for i, t in enumerate(self.tasks) for n, c in zip(self._own(i), t.labels, strict=True)}
        return tuple(called[name] for name in self.names[: self.count(after)])

    def head(self, after: int) -> Head:
        """With task identities only the labels of a row's own task compete."""
        kind = self.tasks[0].head
        if self.scenario != "task":
            return head.named(kind)
        owner = {output: index for index in range(after + 1) for output in self.of(index)}
        return KINDS[kind](tuple(owner[output] for output in range(self.count(after))))

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
