"""Finds what would make a stream's numbers wrong or its training fail, before anything is trained."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from numbers import Integral

from continual.errors import DataError
from continual.stream.base import Rows, Stream, Task

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check(stream: Stream) -> list[str]:
    """Warnings, one line each; raises DataError with task, split, row, what was found and what to do.

    Errors: no tasks; a bad or repeated task name; repeated labels; fewer than two classes; an empty split; a label
    outside the label map; a text that is not a string. Warnings: empty texts in train; texts of test in train; a class
    of valid or test that train lacks.
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


def content(text: str) -> bytes:
    """16 bytes that are equal for texts that differ in case and spacing only.

    >>> content("Good  Film\\n") == content("good film") != content("bad film")
    True
    """
    folded = " ".join(text.lower().split())
    return hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _torn(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _check_task(task: Task) -> Iterable[str]:
    for label, count in Counter(task.labels).items():
        if count > 1:
            raise DataError(
                f"task {task.name!r}: label {label!r} is in the label map {count} times; name each class once"
            )
    if len(task.labels) < 2:
        raise DataError(f"task {task.name!r}: expected at least two labels, got {list(task.labels)}; drop the task")
    for split, rows in task.splits.items():
        _check_rows(task, split, rows)
    classes = {split: {row.label for row in rows} for split, rows in task.splits.items()}
    if len(classes["train"]) < 2:
        only = task.labels[next(iter(classes["train"]))]
        raise DataError(
            f"task {task.name!r}, train: all {len(task.train)} rows are {only!r}; there is nothing to tell apart"
        )
    for split in ("valid", "test"):
        if absent := sorted(classes[split] - classes["train"]):
            names = ", ".join(repr(task.labels[label]) for label in absent)
            yield f"task {task.name!r}, {split}: train has no row of {names}, which cannot be learned"
    if empty := [i for i, row in enumerate(task.train) if not row.text.strip()]:
        yield f"task {task.name!r}, train: {len(empty)} empty texts, the first in row {empty[0]}"
    train = {content(row.text) for row in task.train}
    if shared := sum(content(row.text) in train for row in task.test):
        yield f"task {task.name!r}: {shared} of {len(task.test)} test texts are also in train; its score is too high"


def _check_rows(task: Task, split: str, rows: Rows) -> None:
    where = f"task {task.name!r}, {split}"
    if not len(rows):
        raise DataError(f"{where}: no rows; give the split some, or leave the task out")
    top = len(task.labels)
    wrong = []
    for i, (text, label) in enumerate(rows):
        if not isinstance(text, str):
            raise DataError(
                f"{where}, row {i}: expected a text, got {text!r:.80} ({type(text).__name__}); mend or drop it"
            )
        if not text.isascii() and _torn(text):
            raise DataError(
                f"{where}, row {i}: {text!r:.80} holds half of a character (a lone surrogate); mend or drop it"
            )
        if not isinstance(label, Integral) or isinstance(label, bool) or not 0 <= label < top:
            wrong.append(f"row {i} has {label!r:.40}")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise DataError(
            f"{where}: expected labels that index the {top} of the label map (0 to {top - 1}), but "
            f"{', '.join(wrong[:5])}{more}; map label names to their positions in {list(task.labels)!r:.200}"
        )
