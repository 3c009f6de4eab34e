"""One corpus as several tasks of other classes each: what a class-incremental stream is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from continual.errors import DataError
from continual.stream.base import Example, Rows, Task
from continual.stream.order import Order, arrange
from continual.stream.sample import sized


def grouped(
    labels: Sequence[str],
    splits: Mapping[str, Rows],
    size: int,
    order: Order = None,
    name: str = "classes",
    head: str = "classify",
    source: str = "",
) -> list[Task]:
    """A corpus of L labels as L / ``size`` tasks of ``size`` labels each, none in two: name-0, name-1, …

    labels  of the corpus; ``splits`` (train, valid, test) hold rows whose labels are positions in it
    order   of the classes, not of the tasks: None: as in ``labels``; a list of labels (those that it does not name are
            left out, with their rows); an integer: random, a function of it alone
    A task keeps the labels of its own classes only; ``union`` of the tasks gives them all. Raises DataError: ``size``
    is below 2 or does not divide L; an order that names what is no label, or one twice.

    >>> rows = [Example(f"text {label}", label) for label in range(4)]
    >>> tasks = grouped("abcd", {"train": rows, "valid": rows, "test": rows}, size=2, order=["d", "b", "a", "c"])
    >>> [(task.name, task.labels, [row.label for row in task.train]) for task in tasks]
    [('classes-0', ('d', 'b'), [1, 0]), ('classes-1', ('a', 'c'), [0, 1])]
    """
    dealt = arrange(labels, order, what="class")
    if size < 2 or len(dealt) % size:
        fits = [str(n) for n in range(2, len(dealt) + 1) if len(dealt) % n == 0]
        raise DataError(
            f"{name}: cannot make tasks of {size} classes each of {len(dealt)}; choose a size from: {', '.join(fits)}"
        )
    count = len(dealt) // size
    width = len(str(count - 1))
    groups = {f"{name}-{i:0{width}}": dealt[i * size : (i + 1) * size] for i in range(count)}
    return divided(labels, splits, groups, head, source)


def divided(
    labels: Sequence[str],
    splits: Mapping[str, Rows],
    groups: Mapping[str, Sequence[str]],
    head: str = "classify",
    source: str = "",
) -> list[Task]:
    """A corpus as one task for each of ``groups``: name -> its classes. Rows of no group are left out.

    Raises DataError: a class that is none of ``labels``, or that stands in two groups.
    """
    home: dict[str, str] = {}
    place: dict[int, tuple[str, int]] = {}  # position in labels -> task, position in its own labels
    index = {label: i for i, label in enumerate(labels)}
    for name, classes in groups.items():
        for position, label in enumerate(classes):
            if label not in index:
                raise DataError(f"task {name!r}: class {label!r} is none of the {len(labels)} of the corpus")
            if label in home:
                raise DataError(f"class {label!r} is in the tasks {home[label]!r} and {name!r}; it can be in one only")
            home[label], place[index[label]] = name, (name, position)
    found = {name: (list[Example](), list[Example](), list[Example]()) for name in groups}
    for part, split in enumerate(("train", "valid", "test")):
        for row in splits.get(split, ()):
            if row.label in place:
                name, position = place[row.label]
                found[name][part].append(row._replace(label=position))
    return [Task(name, tuple(groups[name]), *rows, head=head, source=source) for name, rows in found.items()]


def cut(
    tasks: Iterable[Task], train: int | None, valid: int | None, test: int | None, seed: int, shots: int | None
) -> list[Task]:
    """Each task at the sizes asked for, as ``sample.sized`` has them; a split without rows is held out of train."""
    found = []
    for task in tasks:
        there = {split: rows for split, rows in task.splits.items() if rows}
        found.append(replace(task, **sized(there, train, valid, test, seed, task.name, shots)))
    return found


def union(tasks: Iterable[Task]) -> tuple[str, ...]:
    """All labels of ``tasks`` as they arrive, those that tasks share once: the classes of one head without a task id.

    >>> stars = Task("yelp", ("1 star", "5 stars"), [], [], [])
    >>> union([stars, Task("agnews", ("World", "Sports"), [], [], []), stars])
    ('1 star', '5 stars', 'World', 'Sports')
    """
    return tuple(dict.fromkeys(label for task in tasks for label in task.labels))
