"""Which task a row is of, when nobody says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from continual.errors import ContinualError

Stats = dict[str, Tensor]
"""What a router keeps of one task: a function of that task's rows alone. No row is kept."""


@dataclass(frozen=True)
class Evidence:
    """What a router is shown of a task, once, when the task is learned.

    features  (n, d) pooled states of its training rows in the bare encoder
    labels    (n,) their classes; one class for all where the task has none
    logits    (n, C) of the same rows under the task's own module and head; None where its head gives no such thing

    Raises ContinualError for values that are not finite, rows that do not match, and no rows at all.
    """

    features: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    logits: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require_finite("features of a task's training rows", self.features)
        rows = {len(self.features), len(self.labels)} | ({len(self.logits)} if self.logits is not None else set())
        if len(rows) > 1 or rows == {0}:
            raise ContinualError(f"a router expected as many labels and logits as features, and a row; got {rows}")
        if self.logits is not None:
            require_finite("logits of a task's training rows", self.logits)

    @property
    def own_logits(self) -> Tensor:
        """Raises ContinualError where there are none."""
        if self.logits is None:
            raise ContinualError("this router reads logits of classes, and the task's head gives none")
        return self.logits


@dataclass(frozen=True)
class Query:
    """Rows whose task is asked for.

    features  (n, d) of the bare encoder
    logits    of the rows with these numbers under the module and head of this task: a forward each time, so a router
              asks for what it needs only
    truth     (n,) the number of each row's task, for the oracle alone; -1 where it is of none
    """

    features: Tensor = field(repr=False)
    logits: Callable[[str, Tensor], Tensor] = field(repr=False)
    truth: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require_finite("features", self.features)

    def all_logits(self, task: str) -> Tensor:
        """(n, C) of all rows, in float64."""
        return self.logits_of(task, torch.arange(len(self.features)))

    def logits_of(self, task: str, rows: Tensor) -> Tensor:
        """(m, C) of the rows with these numbers, in float64."""
        found = self.logits(task, rows).double()
        require_finite(f"logits under the module of {task}", found)
        return found


class Router(Protocol):
    """Scores tasks for rows. What it knows of tasks is the statistics that ``learn`` made of each, by name.

    top           how many modules answer a row together: P(y|x) = Σ_t P(t|x) P(y|x, t) over the likeliest tasks
    needs_logits  whether it reads logits: a task whose head gives none cannot be routed to then
    """

    needs_logits: ClassVar[bool]

    @property
    def top(self) -> int: ...
    def learn(self, evidence: Evidence) -> Stats:
        """The statistics of a task, from its own rows alone: other tasks, and their order, change nothing."""
        ...

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        """(n, T) float64, higher is likelier, columns as in ``known``; -inf: not this task.

        Sums over tasks run in the order of ``known``.
        """
        ...


def require_finite(what: str, tensor: Tensor) -> None:
    """Raises ContinualError for NaN and infinity."""
    bad = (~tensor.isfinite()).reshape(len(tensor), -1).any(1) if tensor.numel() else torch.zeros(0, dtype=torch.bool)
    if bool(bad.any()):
        raise ContinualError(
            f"{what}: {int(bad.sum())} of {len(tensor)} rows have NaN or infinite values, the first is row "
            f"{int(bad.nonzero()[0])}; a router needs finite numbers: look at the encoder or module that made them"
        )


def require_top(top: int) -> None:
    """Raises ContinualError for less than one module."""
    if top < 1:
        raise ContinualError(f"router.top must be at least 1, got {top}")


def best(logits: Tensor) -> Tensor:
    """(n, C) -> (n,) the largest."""
    return logits.max(1).values
