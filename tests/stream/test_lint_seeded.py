"""A stream that is another when it is made again is refused."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from continual.errors import DataError
from continual.stream.base import Example, Task
from continual.stream.sample import split, subset
from continual.stream.seeded import seeded
from continual.task_streams import toy

ROWS = [Example(f"text {i}", i % 2) for i in range(40)]


def stream(draw: Callable[[int], list[int]], count: int = 1) -> Callable[[], list[Task]]:
    """Tasks whose train rows ``draw`` chooses: k of 40 row numbers."""

    def make() -> list[Task]:
        return [Task(f"t{i}", ("a", "b"), [ROWS[n] for n in draw(8)], ROWS[:4], ROWS[4:8]) for i in range(count)]

    return make


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda k: random.sample(range(40), k), "random"),
        (lambda k: np.random.choice(40, k, replace=False).tolist(), r"numpy\.random"),
        (lambda k: torch.randperm(40)[:k].tolist(), "torch's global generator"),
    ],
)
def test_rows_from_a_global_generator_are_refused(draw: Callable[[int], list[int]], name: str) -> None:
    with pytest.raises(
        DataError, match=rf"tasks 't0', 't1': made twice, their rows differ.*drawn with {name}; draw with"
    ):
        seeded(stream(draw, 2))


def test_a_generator_that_is_seeded_first_or_used_for_nothing_gives_the_same_rows() -> None:
    def first(k: int) -> list[int]:
        np.random.seed(7)
        return np.random.choice(40, k, replace=False).tolist()

    def nothing(k: int) -> list[int]:
        random.random()
        return list(range(k))

    for draw in (first, nothing):
        made = stream(draw)
        assert [task.digest for task in seeded(made)] == [task.digest for task in made()]


def test_a_stream_that_touches_no_global_generator_is_made_once() -> None:
    calls = []

    def make() -> list[Task]:
        calls.append(1)
        return toy.tasks(count=2)

    assert [task.digest for task in seeded(make)] == [task.digest for task in toy.tasks(count=2)]
    assert len(calls) == 1


def test_subsets_depend_on_seed_and_name_only_whatever_is_drawn_or_asked_before() -> None:
    def choose(names: str) -> dict[str, tuple]:
        return {name: (subset(ROWS, 9, 0, name), *split(ROWS, 0.3, 0, name)) for name in names}

    first = choose("abc")
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    assert choose("cab") == first
    assert choose("c")["c"] == first["c"]
    assert first["a"] != first["b"]
