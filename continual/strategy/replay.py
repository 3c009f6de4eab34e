"""Experience replay: a few rows of earlier tasks are learned again with each new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from continual.errors import ContinualError
from continual.strategy.base import Stage, Strategy
from continual.stream.base import Example, Rows, Task
from continual.stream.sample import draws


@dataclass(frozen=True)
class Replay(Strategy):
    """The one module learns the task's rows and, mixed with them, ``size`` of all earlier ones.

    Experience replay (ER; Chaudhry et al. 2019, "On tiny episodic memories").

    The rows are what a reservoir (Vitter 1985, algorithm R) holds after the earlier tasks: a uniform sample without
    replacement. Here each row draws a number, f(seed, task, row), and the ``size`` smallest stay, which has the same
    distribution, grows the same way, and needs no state: a run that was stopped finds the same rows again.

    Each row of the memory is seen once an epoch; the reference draws as many of them as of new ones in every step.
    """

    size: int = 200

    shared: ClassVar[bool] = True
    one_head: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ContinualError(f"strategy.size must be at least 1, got {self.size}; for no memory use sequential")

    def rows(self, stage: Stage) -> Rows:
        return [*stage.task.train, *reservoir(stage.tasks[:-1], self.size, stage.seed)]


def reservoir(tasks: tuple[Task, ...], size: int, seed: int) -> list[Example]:
    """``size`` training rows of these tasks, each as likely as any other; of fewer all."""
    return [tasks[task].train[row] for task, row in held(tasks, size, seed)]


def held(tasks: tuple[Task, ...], size: int, seed: int) -> list[tuple[int, int]]:
    """The same as (number of the task, number of the row), in order."""
    drawn = [
        (number, task, row)
        for task, of in enumerate(tasks)
        for row, number in enumerate(draws(len(of.train), "reservoir", seed, of.name).tolist())
    ]
    return sorted((task, row) for _, task, row in sorted(drawn)[:size])
