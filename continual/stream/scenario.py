"""What a stream's scenario promises of its labels."""

from __future__ import annotations

from collections import defaultdict
from typing import get_args

from continual.errors import DataError, unknown
from continual.stream.base import Scenario, Stream
from continual.stream.labels import meant


def require(stream: Stream) -> None:
    """Raises DataError where the labels are not those of the stream's scenario (``stream/base.py:Scenario``)."""
    if stream.scenario not in get_args(Scenario):
        raise unknown("scenario", stream.scenario, get_args(Scenario))
    if stream.scenario == "domain":
        _require_equal(stream)
    if stream.scenario == "class":
        _require_disjoint(stream)


def _require_equal(stream: Stream) -> None:
    """In the same order too: one head answers all tasks, and knows a label by its place."""
    first = stream.tasks[0]
    for task in stream.tasks[1:]:
        if task.labels == first.labels:
            continue
        odd = sorted(set(task.labels) ^ set(first.labels))
        what = f"of which only one has {odd!r:.200}" if odd else "the same in another order"
        raise DataError(
            f"stream {stream.name!r} is domain-incremental: expected the labels of task {first.name!r} in every task, "
            f"in their order, got {list(first.labels)!r:.200} and in task {task.name!r} {list(task.labels)!r:.200}, "
            f"{what}; map them to the same, or choose scenario=task"
        )


def _require_disjoint(stream: Stream) -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for task in stream.tasks:
        for label in sorted(meant(task)):
            homes[label].append(task.name)
    wrong = [f"{label!r} in {', '.join(map(repr, tasks))}" for label, tasks in homes.items() if len(tasks) > 1]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise DataError(
            f"stream {stream.name!r} is class-incremental: expected each class in one task only, got "
            f"{'; '.join(wrong[:5])}{more}; rename or regroup them, or choose scenario=task or domain"
        )
