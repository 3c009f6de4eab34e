"""Your own files as a stream: one task a file, or explicit splits; CSV, TSV or JSONL with a text and a label column.

Licence and sizes: those of your files. On the command line alone:

    continual run stream=csv 'stream.files=[support.csv,reviews.tsv]'
    continual run stream=csv 'stream.files={support: {train: a.csv, test: b.csv}}'
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from continual.errors import DataError
from continual.stream.base import Example, Task
from continual.stream.sample import split, subset
from continual.stream.table import read_table

SPLITS = ("train", "valid", "test")


def tasks(
    files: str | Sequence[str] | Mapping[str, str | Mapping[str, str]],
    text: str = "text",
    label: str = "label",
    valid: int | float = 0.1,
    test: int | float = 0.2,
    seed: int = 0,
    train: int | None = None,
) -> list[Task]:
    """The tasks in the order of ``files``.

    files        [a.csv, b.csv]: named after the files; or {name: a.csv} or {name: {train: …, valid: …, test: …}}, where
                 only train is needed
    text, label  the columns
    valid, test  rows (or a fraction of them, below 1) held out of train, stratified, where no file is given
    train        at most so many rows of train, a random stratified subset; None: all
    The labels are the sorted label strings of train. Raises DataError: unreadable files, a label that train lacks.
    """
    if isinstance(files, str):
        files = [files]
    named = files if isinstance(files, Mapping) else _named(files)
    if not named:
        raise DataError("stream csv: no files; give some: 'stream.files=[a.csv,b.csv]'")
    result = []
    for name, given in named.items():
        paths = {"train": given} if isinstance(given, str) else dict(given)
        if "train" not in paths or not set(paths) <= set(SPLITS):
            raise DataError(f"task {name!r}: expected files for train and perhaps valid and test, got {sorted(paths)}")
        read = {part: read_table(path, text, label) for part, path in paths.items()}
        labels = tuple(sorted({row[1] for row in read["train"]}))
        rows = {part: _indexed(pairs, labels, f"task {name!r}, {paths[part]}") for part, pairs in read.items()}
        for part, size in (("test", test), ("valid", valid)):
            if part not in rows:
                rows["train"], rows[part] = split(rows["train"], size, seed, f"{name}/{part}")
        kept = subset(rows["train"], train, seed, f"{name}/train")
        result.append(Task(name, labels, kept, rows["valid"], rows["test"], source=", ".join(paths.values())))
    return result


def _named(files: Sequence[str]) -> dict[str, str]:
    """Task name -> file.

    >>> _named(["data/My Reviews.csv"])
    {'my-reviews': 'data/My Reviews.csv'}
    """
    result: dict[str, str] = {}
    for file in files:
        name = re.sub(r"[^a-z0-9._]+", "-", Path(file).stem.lower()).strip("-._")
        if name in result:
            raise DataError(
                f"{result[name]} and {file} would both be the task {name!r}; name them: "
                f"'stream.files={{first: {result[name]}, second: {file}}}'"
            )
        result[name] = file
    return result


def _indexed(pairs: Sequence[tuple[str, str]], labels: tuple[str, ...], where: str) -> list[Example]:
    index = {label: i for i, label in enumerate(labels)}
    if lost := sorted({label for _, label in pairs} - index.keys()):
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise DataError(
            f"{where}: labels that train lacks: {', '.join(map(repr, lost[:5]))}{more}; train has "
            f"{', '.join(map(repr, labels[:20]))}; add rows to train, or correct or drop these"
        )
    return [Example(text, index[label]) for text, label in pairs]
