"""A stream is the same however often, and after whatever, it is made."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from continual.errors import DataError
from continual.stream.base import Task


def seeded(make: Callable[[], Iterable[Task]]) -> tuple[Task, ...]:
    """The tasks that ``make`` gives. Raises DataError for those whose rows depend on what was drawn before.

    Progressive Prompts draws a subset with ``np.random.choice`` before the only ``np.random.seed``: the first task's is
    then another in every run, and each later one depends on the order of calls. Where a global generator (Python's,
    numpy's, torch's) is another after ``make`` than before, the tasks are made once more: they must be the same.
    Nothing is made twice where none was touched. Not seen: a generator of its own that is seeded by the clock or the
    system; then the stream's digest, and with it the run's id, is another each time.
    """
    before = _generators()
    tasks = tuple(make())
    drawn = [name for name, state in _generators().items() if state != before[name]]
    if drawn:
        again = tuple(make())
        same = {task.digest for task in tasks} & {task.digest for task in again}
        if odd := [task.name for task in tasks if task.digest not in same]:
            raise DataError(
                f"tasks {', '.join(map(repr, odd))}: made twice, their rows differ, for they are drawn with "
                f"{' and '.join(drawn)}; draw with continual.stream.sample, where a subset is f(seed, task name)"
            )
    return tasks


def _generators() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy.random": (name, np.asarray(keys).tobytes(), *rest),
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
    }
