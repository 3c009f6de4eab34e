"""Replay of the rows that stand best for their class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch.nn.functional import normalize

from continual.errors import ContinualError
from continual.strategy.base import Stage, Strategy
from continual.stream.base import Example, Rows, Task


@dataclass(frozen=True)
class Herding(Strategy):
    """The one module learns the task's rows and ``size`` of the earlier ones, as many of each class of each task.

    Herding (Welling 2009; iCaRL, Rebuffi et al. 2017, eq. 4): p_k = argmin_x ‖μ − (φ(x) + Σ_{j<k} φ(p_j)) / k‖, with μ
    the class mean and φ features of length 1. A class with fewer rows gives all. Where ``size`` does not divide, the
    oldest classes give one row more. The paper takes φ from the current model; here it is the bare encoder, so that a
    run that was stopped finds the same rows again without a memory. Of iCaRL only the choice of rows is taken.

    Raises ContinualError where a row has not one class.
    """

    size: int = 200

    shared: ClassVar[bool] = True
    one_head: ClassVar[bool] = True
    heads: ClassVar[tuple[str, ...]] = ("classify",)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ContinualError(f"strategy.size must be at least 1, got {self.size}; for no memory use sequential")

    def rows(self, stage: Stage) -> Rows:
        groups = [(task, rows) for task in stage.tasks[:-1] for rows in by_class(task)]
        kept: list[Example] = []
        for number, (task, rows) in enumerate(groups):
            count = self.size // len(groups) + (number < self.size % len(groups))
            examples = [task.train[row] for row in rows]
            features = normalize(stage.bare(examples).double(), dim=-1).cpu().numpy()
            kept += [examples[i] for i in herd(features, count)]
        return [*stage.task.train, *kept]


def by_class(task: Task) -> list[list[int]]:
    """The numbers of a task's training rows, class by class, in order. Raises ContinualError for another head."""
    if task.head != "classify":
        raise ContinualError(
            f"strategy herding groups rows by their class, and task {task.name!r} has head {task.head!r}; "
            "expected classify; choose strategy=replay"
        )
    found: dict[int, list[int]] = {}
    for row, example in enumerate(task.train):
        found.setdefault(int(example.label), []).append(row)
    return [found[label] for label in sorted(found)]


def herd(features: np.ndarray, count: int) -> Sequence[int]:
    """Which ``count`` of (n, d) rows, each chosen so that their mean is nearest to that of all. Ties: the first.

    >>> herd(np.array([[0.0], [4.0], [5.0]]), 2)
    [1, 0]
    """
    mean, total, chosen = features.mean(0), np.zeros(features.shape[1]), []
    left = np.ones(len(features), dtype=bool)
    for k in range(1, min(count, len(features)) + 1):
        distance = np.square(mean - (features + total) / k).sum(1)
        best = int(np.argmin(np.where(left, distance, np.inf)))
        left[best] = False
        total = total + features[best]
        chosen.append(best)
    return chosen
