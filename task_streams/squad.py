"""Your own questions with their answers in a text as a stream: JSON as SQuAD 1.1 or 2.0 has it.

Licence and sizes: those of your files. On the command line alone:

    continual run stream=squad 'stream.files={wiki: {train: train-v2.0.json, test: dev-v2.0.json}}'
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from continual.errors import DataError
from continual.head import named
from continual.stream.base import Example, Rows, Task
from continual.stream.files import complete, lines, sources
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
        articles = {part: list(_articles(path)) for part, path in paths.items()}
        rows = {part: [row for article in found for row in article] for part, found in articles.items()}
        labels = () if all(row.label for found in rows.values() for row in found) else NONE
        for part, path in paths.items():
            _require_answers(path, rows[part], labels)
        article = {_context(row): number for number, found in enumerate(articles["train"]) for row in found}
        splits = complete(rows, valid, test, seed, train, name, partial(_split, article))
        result.append(Task(name, labels, **splits, head="span", score=score, source=", ".join(paths.values())))
    return result


def _articles(path: str) -> Iterator[list[Example]]:
    """The questions of each article that has some."""
    try:
        content = json.loads("".join(lines(path)))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); expected one object with the key 'data'") from None
    empty = True
    for a, article in enumerate(_list(content, "data", path)):
        rows = []
        for p, paragraph in enumerate(_list(article, "paragraphs", f"{path}, data[{a}]")):
            where = f"{path}, data[{a}].paragraphs[{p}]"
            context = _text(paragraph, "context", where)
            for q, asked in enumerate(_list(paragraph, "qas", where)):
                there = f"{where}.qas[{q}]"
                rows.append(Example((_text(asked, "question", there), context), _answers(asked, there)))
        if rows:
            empty = False
            yield rows
    if empty:
        raise DataError(f"{path}: no questions; expected data, in it paragraphs, in them qas")


def _answers(asked: dict[str, Any], where: str) -> tuple[tuple[int, str], ...]:
    """(first character, text) of each; the same answer of several people once."""
    if asked.get("is_impossible") is True:
        return ()
    found = []
    for n, answer in enumerate(_list(asked, "answers", where)):
        there = f"{where}.answers[{n}]"
        text = _text(answer, "text", there)
        if type(start := answer.get("answer_start")) is not int:
            raise DataError(f"{there}: expected a whole number in 'answer_start', got {start!r:.60}")
        found.append((start, text))
    return tuple(dict.fromkeys(found))


def _list(node: Any, key: str, where: str) -> list[Any]:
    found = node.get(key) if isinstance(node, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{where}: expected an object with a list in {key!r}, got {node!r:.60}")
    return found


def _text(node: Any, key: str, where: str) -> str:
    found = node.get(key) if isinstance(node, dict) else None
    if not isinstance(found, str):
        raise DataError(f"{where}: expected an object with a text in {key!r}, got {node!r:.60}")
    return found


def _context(row: Example) -> str:
    return cast("tuple[str, str]", row.text)[1]


def _require_answers(path: str, rows: Rows, labels: Sequence[str]) -> None:
    span = named("span")
    wrong = [(row, why) for row in rows if (why := span.problem(row, labels)) is not None]
    if wrong:
        listed = "; ".join(f"{cast('tuple[str, str]', row.text)[0]!r:.80}: {why}" for row, why in wrong[:5])
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise DataError(f"{path}: {len(wrong)} of {len(rows)} questions are wrong: {listed}{more}; mend or drop them")


def _split(
    article: Mapping[str, int], rows: list[Example], size: int | float, seed: int, key: str
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
