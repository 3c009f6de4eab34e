"""What a stream's scenario promises of its labels."""

from __future__ import annotations

from collections import defaultdict
from typing import get_args

from continual.errors import DataError, unknown
from continual.stream.base import Scenario, Stream
from continual.stream.labels import meant, some


def require(stream: Stream) -> None:
    """Raises DataError where the labels are not those of the stream's scenario (``stream/base.py:Scenario``)."""
    if stream.scenario not in get_args(Scenario):
        raise unknown("scenario", stream.scenario, get_args(Scenario))
    if stream.scenario == "domain":
        _require_equal(stream)
    if stream.scenario == "class":
        _require_disjoint(stream)


def _require_equal(stream: Stream) -> None:
    first = stream.tasks[0]
    for task in stream.tasks[1:]:
        if odd := sorted(set(task.labels) ^ set(first.labels)):
            raise DataError(
                f"stream {stream.name!r} is domain-incremental: expected the same labels in every task, got "
                f"{some(first.labels)} in {first.name!r} and {some(task.labels)} in {task.name!r}; only one has "
                f"{some(odd)}; map them to the same, or choose scenario=task"
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
            f"{'; '.join(wrong[:5])}{more}; rename or regroup them, or choose scenario=shared, where it is one class, "
            "or scenario=task"
        )
