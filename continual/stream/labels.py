"""Labels that do not fit: without rows in their task, or with another meaning or place in another task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import combinations

from continual.errors import DataError, counted
from continual.head.base import Head
from continual.stream.base import Stream, Task
from continual.stream.stored import labels_of

PAIRS = 5
"""As many pairs of tasks are named, those that share the most first; the others are counted."""


def within(task: Task, kind: Head) -> Iterator[str]:
    """Of one task whose rows have labels. Raises DataError where train has a single class."""
    classes = {
        split: {label for found in labels_of(rows) for label in (found if isinstance(found, tuple) else (found,))}
        for split, rows in task.splits.items()
    }
    if kind.classes and len(classes["train"]) < 2:
        only = task.labels[next(iter(classes["train"]))]
        raise DataError(
            f"task {task.name!r}, train: expected rows of two labels or more, got {counted(len(task.train), 'row')}, "
            f"all {only!r}; take more rows (stream.train), or drop the task"
        )
    for split in ("valid", "test"):
        if absent := sorted(classes[split] - classes["train"]):
            names = ", ".join(repr(task.labels[label]) for label in absent)
            yield f"task {task.name!r}, {split}: train has no row of {names}, which cannot be learned"
        if kind.classes and len(classes[split]) == 1 < len(task.splits[split]):
            only = task.labels[next(iter(classes[split]))]
            yield f"task {task.name!r}, {split}: all {len(task.splits[split])} rows are {only!r}; one answer fits all"
    if gaps := sorted(set(range(len(task.labels))).difference(*classes.values())):
        names = some([task.labels[label] for label in gaps])
        yield f"task {task.name!r}: no split has a row of {names}; drop what nothing is from the labels"


def between(stream: Stream) -> Iterator[str]:
    """Of all tasks with heads of one kind: equal labels in another order, and label sets that cross.

    Sets cross where they share names and each has one that the other lacks. Equal, nested and disjoint sets are usual.
    """
    kinds: dict[str, dict[frozenset[str], list[Task]]] = defaultdict(lambda: defaultdict(list))
    for task in stream.tasks:
        kinds[task.head][frozenset(task.labels)].append(task)
    for sets in kinds.values():
        for tasks in sets.values():
            yield from _reordered(tasks)
    yield from _crossing([{meant(found[0]): found[0] for found in sets.values()} for sets in kinds.values()])


def meant(task: Task) -> frozenset[str]:
    """The labels that mean something by their name: in tags all but O, which is whatever the task does not mark."""
    return frozenset(task.labels) - ({"O"} if task.head == "tag" else set())


def _reordered(tasks: list[Task]) -> Iterator[str]:
    odd = [task for task in tasks if task.labels != tasks[0].labels]
    if odd:
        yield (
            f"task {tasks[0].name!r} has the labels {some(tasks[0].labels)}, and {some([t.name for t in odd])} the "
            f"same in another order, as {some(odd[0].labels)}; the same number is another label there: sort them"
        )


def _crossing(kinds: list[dict[frozenset[str], Task]]) -> Iterator[str]:
    """``kinds``: for tasks with heads of a kind, each label set with the first task that has it."""
    pairs = [
        (sets[a], sets[b], sorted(a & b))
        for sets in kinds
        for a, b in combinations(sets, 2)
        if a & b and not (a <= b or b <= a)
    ]
    pairs.sort(key=lambda pair: -len(pair[2]))
    for a, b, names in pairs[:PAIRS]:
        yield (
            f"tasks {a.name!r} and {b.name!r} share the labels {some(names)}, and each has others that the other "
            "lacks; rename them where they do not mean the same"
        )
    if rest := pairs[PAIRS:]:
        yield f"{len(rest)} more pairs of tasks share some of their labels, at most {len(rest[0][2])}"


def some(names: Collection[str], most: int = 5) -> str:
    """The first of many names.

    >>> some(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    listed = ", ".join(map(repr, list(names)[:most]))
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
