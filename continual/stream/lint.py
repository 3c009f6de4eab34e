"""Finds what would make a stream's numbers wrong or its training fail, before anything is trained."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from continual import head
from continual import score as scores
from continual.errors import DataError
from continual.head.base import Head
from continual.stream.base import Image, Rows, Stream, Task

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check(stream: Stream) -> list[str]:
    """Warnings, one line each; raises DataError with task, split, row, what was found and what to do.

    Errors: no tasks; a bad or repeated task name; an unknown head or score; tags that the score cannot judge;
    repeated labels; fewer than two classes; an empty split; a row that its head cannot read (a label outside the label
    map, a text that is not one, words and tags of different number, an answer that is not in its context). Warnings:
    empty texts in train; texts of test in train; a class of valid or test that train lacks.
    """
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
    return [warning for task in stream.tasks for warning in _check_task(task)]


def content(text: str | tuple[str, ...] | Image) -> bytes:
    """16 bytes that are equal for texts that differ in case and spacing only, and for equal images.

    >>> content("Good  Film\\n") == content("good film") != content("bad film")
    True
    """
    if isinstance(text, Image):
        return hashlib.blake2b(text.pixels, digest_size=16).digest()
    folded = "\x1f".join(" ".join(part.lower().split()) for part in ((text,) if isinstance(text, str) else text))
    return hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _check_task(task: Task) -> Iterable[str]:
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
    for split, rows in task.splits.items():
        _check_rows(task, kind, split, rows)
    if kind.classes or task.head in ("multilabel", "tag"):
        yield from _check_labels(task, kind)
    if empty := [i for i, row in enumerate(task.train) if isinstance(row.text, str) and not row.text.strip()]:
        yield f"task {task.name!r}, train: {len(empty)} empty texts, the first in row {empty[0]}"
    train = {content(row.text) for row in task.train}
    if shared := sum(content(row.text) in train for row in task.test):
        yield f"task {task.name!r}: {shared} of {len(task.test)} test texts are also in train; its score is too high"


def _check_tags(task: Task, score: str) -> None:
    try:
        scores.named(score).rows([()], [()], task.labels)  # a sentence without words: only the labels are looked at
    except DataError as error:
        raise DataError(
            f"task {task.name!r}: {error}; for other tags choose a score that takes them: score=token_accuracy "
            "(of words), or accuracy (of whole sentences)"
        ) from None


def _check_labels(task: Task, kind: Head) -> Iterable[str]:
    classes = {
        split: {label for row in rows for label in (row.label if isinstance(row.label, tuple) else (row.label,))}
        for split, rows in task.splits.items()
    }
    if kind.classes and len(classes["train"]) < 2:
        only = task.labels[next(iter(classes["train"]))]
        raise DataError(
            f"task {task.name!r}, train: all {len(task.train)} rows are {only!r}; there is nothing to tell apart"
        )
    for split in ("valid", "test"):
        if absent := sorted(classes[split] - classes["train"]):
            names = ", ".join(repr(task.labels[label]) for label in absent)
            yield f"task {task.name!r}, {split}: train has no row of {names}, which cannot be learned"


def _check_rows(task: Task, kind: Head, split: str, rows: Rows) -> None:
    where = f"task {task.name!r} ({task.head}), {split}"
    if not len(rows):
        raise DataError(f"{where}: no rows; give the split some, or leave the task out")
    wrong = [f"row {i}: {why}" for i, row in enumerate(rows) if (why := kind.problem(row, task.labels)) is not None]
    if wrong:
        more = f"; and {len(wrong) - 5} more rows" if len(wrong) > 5 else ""
        known = f"; labels are positions in {list(task.labels)!r:.200}" if task.labels else ""
        raise DataError(f"{where}, {'; '.join(wrong[:5])}{more}; mend or drop them{known}")
