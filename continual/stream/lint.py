"""Finds what would make a stream's numbers wrong or its training fail, before anything is trained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from continual import head
from continual import score as scores
from continual.errors import DataError, counted
from continual.head.base import Head
from continual.stream import labels, leaks, scenario
from continual.stream.base import Example, Rows, Stream, Task
from continual.stream.content import content

__all__ = ["NAME", "check", "content"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check(stream: Stream) -> list[str]:
    """Warnings, one line each; raises DataError with task, split, row, what was found and what to do.

    Errors: no tasks; a bad or repeated task name; labels that are not those of the stream's scenario; an unknown head
    or score; tags that the score cannot judge; repeated labels; fewer than two classes, in train too; an empty split; a
    row that its head cannot read (a label outside the label map, a text that is not one, words and tags of different
    number, an answer that is not in its context); more than half of test in valid or train, or of valid in test.
    Warnings: empty texts in train; texts of test in valid or train, of valid in train, of a test in another task's
    train; a class of valid or test that train lacks, or that is its only one; a label that no row has; labels that two
    tasks have in different orders, or share in part.

    Linear in rows: each is read once, hashed, and not held. A stream is judged once, however often this is asked.
    """
    known = vars(stream)  # as cached_property would keep them, if a stream could know these rules
    if "warnings" not in known:
        known["warnings"] = tuple(_warnings(stream))
    return list(known["warnings"])


def _warnings(stream: Stream) -> Iterator[str]:
    _check_names(stream)
    scenario.require(stream)
    found = []
    for task in stream.tasks:
        kind = _check_kind(task)
        found.append({split: leaks.hashed(_read(task, kind, split, rows)) for split, rows in task.splits.items()})
        if kind.classes or task.head in ("multilabel", "tag"):
            yield from labels.within(task, kind)
        if empty := leaks.empty(found[-1]["train"]):
            yield f"task {task.name!r}, train: {counted(len(empty), 'empty text')}, the first in row {empty[0]}"
        yield from leaks.within(task, found[-1])
    yield from leaks.between(stream, found)
    yield from labels.between(stream)


def _check_names(stream: Stream) -> None:
    if not stream.tasks:
        raise DataError(f"stream {stream.name!r} has no tasks; give it at least one")
    for name, count in Counter(task.name for task in stream.tasks).items():
        if not NAME.fullmatch(name):
            raise DataError(
                f"task name {name!r} cannot name files: expected 1 to 64 of a-z 0-9 . _ - "
                "that begin with a letter or digit"
            )
        if count > 1:
            raise DataError(f"{count} tasks are named {name!r}; give each its own name")


def _check_kind(task: Task) -> Head:
    """Raises DataError for what is wrong with a task before its rows are looked at."""
    kind = head.named(task.head)
    if task.score and task.score not in kind.scores:
        scores.named(task.score)
        raise DataError(
            f"task {task.name!r}: score {task.score!r} does not judge {task.head} answers; "
            f"choose from: {', '.join(kind.scores)}"
        )
    if task.head == "tag":
        _check_tags(task, task.score or kind.scores[0])
    for label, count in Counter(task.labels).items():
        if count > 1:
            raise DataError(
                f"task {task.name!r}: label {label!r} is in the label map {count} times; name each class once"
            )
    if kind.classes and len(task.labels) < 2:
        raise DataError(f"task {task.name!r}: expected at least two labels, got {list(task.labels)}; drop the task")
    return kind


def _check_tags(task: Task, score: str) -> None:
    try:
        scores.named(score).rows([()], [()], task.labels)  # a sentence without words: only the labels are looked at
    except DataError as error:
        raise DataError(
            f"task {task.name!r}: {error}; for other tags choose a score that takes them: score=token_accuracy "
            "(of words), or accuracy (of whole sentences)"
        ) from None


def _read(task: Task, kind: Head, split: str, rows: Rows) -> Iterator[Example]:
    """The rows, as they are read. Raises DataError for none; once all are read, for those that the head cannot read."""
    where = f"task {task.name!r} ({task.head}), {split}"
    if rows is None or not len(rows):
        raise DataError(
            f"{where}: expected rows, got none; give the split some (stream.{split} may say how many), or leave the "
            "task out"
        )
    wrong, count = [], 0
    for number, row in enumerate(rows):
        if (why := kind.problem(row, task.labels)) is None:
            yield row
            continue
        count += 1
        wrong += [f"row {number}: {why}"] if count <= 5 else []
    if wrong:
        more = f"; and {count - 5} more rows" if count > 5 else ""
        known = f"; labels are positions in {list(task.labels)!r:.200}" if task.labels else ""
        raise DataError(f"{where}, {'; '.join(wrong)}{more}; mend or drop them{known}")
