"""Texts that stand where they must not: those of a test in valid or train, or in the train of another task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from continual.errors import DataError
from continual.stream.base import Example, Stream, Task
from continual.stream.content import content

HALF = 0.5
"""A split that shares more than this part of its texts with another counts as its copy.

Above it most of what is scored was learned or selected on, so the score is one of memory. Published splits are far
below: of 15 sets the most is 3.8 % (CoNLL-2003); phrases of three words, cut into random halves, come to 24 % (MPQA).
"""

PAIRS = 5
"""As many pairs of tasks are named, those that share the most first; the others are counted."""

Texts = dict[str, NDArray[np.uint64]]
"""Of each split the content of each row, as 64 bits: of 10⁷ texts two are taken for equal with a chance of 3e-6."""

COPIES = (
    ("test", "valid", "dev = test: the score is of rows that were selected on; hold valid out of train"),
    ("valid", "test", "dev = test: what is selected on valid is selected on test; hold valid out of train"),
    ("test", "train", "most answers can be known by heart; drop these rows from train"),
)
"""A split that must not be a part of another, and why."""

SHARED = (
    ("test", "valid", "what is selected on valid has seen them"),
    ("test", "train", "its score is too high"),
    ("valid", "train", "what is selected on valid is too sure of them"),
)
"""What should not be shared at all, and what comes of it."""


def hashed(rows: Iterable[Example]) -> NDArray[np.uint64]:
    """(rows,) Each row is read and hashed once, and not held; the rules below look at nothing else."""
    return np.fromiter((_short(content(row.text)) for row in rows), np.uint64)


def empty(found: NDArray[np.uint64]) -> list[int]:
    """Which rows have a text of nothing but spaces."""
    return np.flatnonzero(found == _short(content(""))).tolist()


def _short(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def within(task: Task, found: Texts) -> Iterator[str]:
    """Of one task. Raises DataError where more than half of a split is in another that it must be kept from."""
    count = {
        (part, whole): int(np.isin(found[part], found[whole], kind="sort").sum())
        for part, whole in {rule[:2] for rule in COPIES + SHARED}
    }
    for part, whole, why in COPIES:
        shared, rows = count[part, whole], len(found[part])
        if shared > HALF * rows:
            much = f"all {rows}" if shared == rows else f"{shared} of {rows}"
            raise DataError(f"task {task.name!r}: {much} {part} texts are also in {whole}: {why}")
    for part, whole, why in SHARED:
        if shared := count[part, whole]:
            yield f"task {task.name!r}: {shared} of {len(found[part])} {part} texts are also in {whole}; {why}"


def between(stream: Stream, found: Sequence[Texts]) -> Iterator[str]:
    """Of all pairs of tasks: how many test texts of one are in the train of another; the pairs with most first."""
    pairs = _pairs(found)
    for (trained, tested), shared in pairs[:PAIRS]:
        a, b = stream.tasks[trained].name, stream.tasks[tested].name
        yield (
            f"task {b!r}: {shared} of {len(found[tested]['test'])} test texts are in train of task {a!r}; "
            "isolated modules do not see them, but one that both tasks share does, and its score is too high"
        )
    if rest := pairs[PAIRS:]:
        yield (
            f"{len(rest)} more pairs of tasks share texts between the train of one and the test of the other: "
            f"{sum(shared for _, shared in rest)} in all, at most {rest[0][1]} a pair"
        )


def _pairs(found: Sequence[Texts]) -> list[tuple[tuple[int, int], int]]:
    """((trained, tested), test rows shared), most first; in time linear in rows, however many tasks share a text."""
    tested = np.unique(np.concatenate([task["test"] for task in found]))
    owners: dict[int, int] = {}  # of a text the tasks that train on it: task i is bit i
    for i, task in enumerate(found):
        for text in np.intersect1d(tested, task["train"]).tolist():
            owners[text] = owners.get(text, 0) | 1 << i
    shared: Counter[tuple[int, int]] = Counter()
    for j, task in enumerate(found):
        for bits, rows in Counter(owners.get(text, 0) for text in task["test"].tolist()).items():
            shared.update({(i, j): rows for i in range(bits.bit_length()) if bits >> i & 1 and i != j})
    return sorted(shared.items(), key=lambda pair: (-pair[1], pair[0]))
