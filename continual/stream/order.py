"""The order in which tasks arrive: as listed, a published one, a list, or random. It is no other seed's business."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from continual.errors import DataError, unknown
from continual.stream.base import Task
from continual.stream.sample import draws

Order = str | int | Sequence[str] | None
Named = Mapping[str, Sequence[str]]
"""A published order's name -> names of tasks."""


def arranged(tasks: Sequence[Task], order: Order, named: Named | None = None) -> list[Task]:
    """``tasks`` in ``order``, as ``arrange`` has it."""
    known = {task.name: task for task in tasks}
    return [known[name] for name in arrange(list(known), order, named)]


def arrange(names: Sequence[str], order: Order, named: Named | None = None, what: str = "task") -> list[str]:
    """``names`` in ``order``: before the tasks are made, so that those that are left out need not be read.

    order  None: as they are; a string: the published order of that name, in ``named``; a list of names: these, and
           those that it does not name are left out; an integer: a random order of all, a function of it alone
    what   the names are of, for messages
    Raises DataError: no such published order, a name that there is not, one that stands twice, an empty list.

    >>> arrange(["a", "b", "c"], ["c", "a"]), arrange(["a", "b", "c"], "order-1", {"order-1": ["b", "a", "c"]})
    (['c', 'a'], ['b', 'a', 'c'])
    >>> arrange("abcdef", 0) == arrange("abcdef", 0) != arrange("abcdef", 1)
    True
    """
    if order is None:
        return list(names)
    if isinstance(order, int) and not isinstance(order, bool):
        return [names[int(i)] for i in draws(len(names), "order", order).argsort(kind="stable")]
    listed = _published(order, named or {}, what) if isinstance(order, str) else order
    if not isinstance(listed, Sequence) or not listed:
        raise DataError(
            f"order: expected null, the name of a published order, a list of {what} names or an integer, got {order!r}"
        )
    for name, count in Counter(listed).items():
        if name not in names:
            raise DataError(f"order: {unknown(what, name, names)}")
        if count > 1:
            raise DataError(f"order: {what} {name!r} stands there {count} times; name each once")
    return list(listed)


def _published(order: str, named: Named, what: str) -> Sequence[str]:
    if order in named:
        return named[order]
    choices = f"choose from: {', '.join(sorted(named))}; or give" if named else "this stream has none; give"
    raise DataError(f"order: unknown published order {order!r}; {choices} a list of {what} names, an integer, or null")
