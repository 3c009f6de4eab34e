"""Your own questions with their answers in a text as a stream: JSON as SQuAD 1.1 or 2.0 has it.

Licence and sizes: those of your files. On the command line alone:

    continual run stream=squad 'stream.files={wiki: {train: train-v2.0.json, test: dev-v2.0.json}}'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import numpy as np

from continual.errors import DataError
from continual.stream.base import Example, Rows, Task
from continual.stream.files import complete, lines, sources
from continual.stream.questions import articles, require_answers
from continual.stream.sample import draws

NONE = ("none",)
"""The labels of a task that has questions without an answer (``continual/head/span.py``)."""


def tasks(
    files: str | Sequence[str] | Mapping[str, str | Mapping[str, str]],
    score: str = "",
    valid: int | float = 0.1,
    test: int | float = 0.2,
    seed: int = 0,
    train: int | None = None,
) -> list[Task]:
    """The tasks in the order of ``files``.

    files       [a.json, b.json]: named after the files; or {name: a.json} or {name: {train: …, valid: …, test: …}},
                where only train is needed
    valid, test questions (or a fraction of them, below 1) held out of train where no file is given: whole articles, as
                many as make that number, because questions about one text give each other away
    train       at most so many questions of train, a random subset; None: all

    A task with a question that has no answer (SQuAD 2.0) may answer that there is none. Raises DataError: not JSON, or
    not of this form, saying where; answers that are not in their context at their place, the first five of them.
    """
    result = []
    for name, paths in sources(files, "squad").items():
        texts = {part: "".join(lines(path)) for part, path in paths.items()}
        read = {part: [article.rows for article in articles(texts[part], path)] for part, path in paths.items()}
        rows = {part: [row for article in found for row in article] for part, found in read.items()}
        labels = () if all(row.label for found in rows.values() for row in found) else NONE
        for part, path in paths.items():
            require_answers(path, rows[part], labels)
        article = {_context(row): number for number, found in enumerate(read["train"]) for row in found}
        splits = complete(rows, valid, test, seed, train, name, partial(_split, article))
        result.append(Task(name, labels, **splits, head="span", score=score, source=", ".join(paths.values())))
    return result


def _context(row: Example) -> str:
    return cast("tuple[str, str]", row.text)[1]


def _split(
    article: Mapping[str, int], rows: Rows, size: int | float, seed: int, key: str
) -> tuple[list[Example], list[Example]]:
    """(train, held out): articles in random order, until they have ``size`` rows or more."""
    wanted = round(size * len(rows)) if size < 1 else int(size)
    counts = Counter(article[_context(row)] for row in rows)
    known, held, count = sorted(counts), set[int](), 0
    for place in np.argsort(draws(len(known), "split", seed, key), kind="stable"):
        if count < wanted:
            held.add(known[place])
            count += counts[known[place]]
    if len(held) == len(known):
        raise DataError(
            f"{key}: cannot hold out {wanted} of {len(rows)} questions in {len(known)} articles: whole articles are "
            "held out, and train needs one; ask for fewer, or give files for valid and test"
        )
    parts: tuple[list[Example], list[Example]] = ([], [])
    for row in rows:
        parts[article[_context(row)] in held].append(row)
    return parts
