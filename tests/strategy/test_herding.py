"""Which rows are kept, against every choice tried one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from continual.errors import ContinualError
from continual.strategy.base import Stage
from continual.strategy.herding import Herding, herd
from continual.stream.base import Example, Rows, Task


def bare(rows: Rows) -> torch.Tensor:
    return torch.tensor([[float(x) for x in str(row.text).split()] for row in rows])


def stage(*tasks: Task) -> Stage:
    return Stage(tasks, (None,) * (len(tasks) - 1), {}, bare, bare, seed=0, one_head=True)  # type: ignore[arg-type]


def task(name: str, *rows: tuple[str, int], head: str = "classify") -> Task:
    return Task(name, ("a", "b"), [Example(*row) for row in rows], (), (), head=head)


def test_each_choice_is_the_best_of_all_that_are_left() -> None:
    features = np.random.default_rng(0).normal(size=(12, 3))
    chosen = list(herd(features, 8))
    assert len(set(chosen)) == 8
    for k, row in enumerate(chosen):
        off = {
            i: np.linalg.norm(features.mean(0) - features[[*chosen[:k], i]].mean(0))
            for i in range(12)
            if i not in chosen[:k]
        }
        assert row == min(off, key=off.__getitem__)


def test_of_equals_the_first_is_taken_and_of_too_few_all() -> None:
    assert list(herd(np.ones((3, 2)), 5)) == [0, 1, 2]


def test_each_class_of_each_earlier_task_gives_as_many_by_direction_alone() -> None:
    old = task("old", ("1 0", 0), ("0 7", 0), ("1 1", 0), ("0 1", 1), ("1 0", 1), ("9 9", 1))
    new = task("new", ("5 5", 0))
    rows = Herding(size=2).rows(stage(old, new))
    assert rows == [Example("5 5", 0), Example("1 1", 0), Example("9 9", 1)]
    assert [row.label for row in Herding(size=3).rows(stage(old, new))] == [0, 0, 0, 1]
    assert Herding().rows(stage(old)) == list(old.train)


def test_what_has_no_class_is_refused() -> None:
    with pytest.raises(ContinualError, match="head 'regress'"):
        Herding().rows(stage(task("old", ("1 0", 0), head="regress"), task("new", ("1 0", 0))))
    with pytest.raises(ContinualError, match="at least 1, got 0"):
        Herding(size=0)
