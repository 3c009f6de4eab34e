"""A reservoir that needs no state."""

from __future__ import annotations

from collections import Counter

import pytest

from continual.errors import ContinualError
from continual.strategy.replay import Replay, reservoir
from tests.strategy import lab


def test_it_holds_as_many_rows_as_it_may_and_all_of_fewer() -> None:
    tasks = lab.stream(rows=20).tasks
    assert len(reservoir(tasks, 7, seed=0)) == 7
    assert len(reservoir(tasks, 1000, seed=0)) == 60
    assert reservoir((), 5, seed=0) == []
    assert reservoir(tasks, 7, seed=0) == reservoir(tasks, 7, seed=0) != reservoir(tasks, 7, seed=1)


def test_as_tasks_come_rows_only_leave_it() -> None:
    """What a reservoir once gave up it never holds again."""
    tasks = lab.stream(rows=20).tasks
    before = [row.text for row in reservoir(tasks[:2], 12, seed=3)]
    kept = [row.text for row in reservoir(tasks, 12, seed=3) if row in [*tasks[0].train, *tasks[1].train]]
    assert set(kept) <= set(before)


def test_every_row_is_as_likely_to_be_held() -> None:
    tasks = lab.stream(rows=10).tasks
    held = Counter(row.text for seed in range(600) for row in reservoir(tasks, 6, seed))
    assert len(held) == 30
    assert sum(held.values()) == 3600
    chi = sum((count - 120) ** 2 / 120 for count in held.values())
    assert chi < 52  # 29 degrees of freedom: 0.5 % of fair reservoirs are above


def test_a_memory_of_nothing_is_refused() -> None:
    with pytest.raises(ContinualError, match="size must be at least 1, got 0; for no memory use sequential"):
        Replay(size=0)
