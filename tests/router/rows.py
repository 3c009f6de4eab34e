"""Tasks that routers are shown: classes around means of their own, and logits of a head of each task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from continual.router.base import Evidence, Query, Router
from continual.task_inference import TaskInference

WIDTH, CLASSES = 6, (3, 2, 4)
NAMES = ("news", "reviews", "alarms")


def draw(task: int, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """(n, d) features and (n,) labels of a task; correlated, and not of one size in all directions."""
    rng = torch.Generator().manual_seed(100 * task + seed)
    means = 2.5 * torch.randn(CLASSES[task], WIDTH, generator=torch.Generator().manual_seed(task))
    labels = torch.arange(rows) % CLASSES[task]
    turn = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(99)) / 2
    return means[labels] + torch.randn(rows, WIDTH, generator=rng) @ turn, labels


def head(task: int) -> Tensor:
    """(d, C): the class means of the task as weights."""
    return 2.5 * torch.randn(CLASSES[task], WIDTH, generator=torch.Generator().manual_seed(task)).T


def evidence(task: int, rows: int = 40) -> Evidence:
    x, labels = draw(task, rows, seed=1)
    return Evidence(x, labels, x @ head(task))


def query(per_task: int = 15, split: int = 2, only: int | None = None) -> Query:
    """Rows of all tasks, in the order of NAMES."""
    drawn = [draw(task, per_task, split)[0] for task in range(len(NAMES))]
    truth = torch.arange(len(NAMES)).repeat_interleave(per_task)
    x = torch.cat(drawn)
    x, truth = (x, truth) if only is None else (x[truth == only], truth[truth == only])
    return Query(x, said(x), truth)


def said(x: Tensor) -> Callable[[str, Tensor], Tensor]:
    return lambda task, rows: x[rows] @ head(NAMES.index(task))


def shown(router: Router, order: tuple[int, ...] = (0, 1, 2)) -> TaskInference:
    known = TaskInference(router)
    for task in order:
        known = known.learn(NAMES[task], evidence(task))
    return known
