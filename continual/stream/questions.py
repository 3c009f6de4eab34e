"""Questions with their answers in a text, in JSON as SQuAD 1.1 or 2.0 has it: articles, paragraphs, questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from continual.errors import DataError
from continual.head import named
from continual.stream.base import Example, Rows


class Article(NamedTuple):
    """``title`` may be empty; a row is (question, context) and its answers, each (first character, text)."""

    title: str
    rows: list[Example]


def articles(text: str, where: str) -> Iterator[Article]:
    """Those with questions. Raises DataError: not JSON, or not of this form, saying where.

    >>> asked = '{"question": "where?", "answers": [{"answer_start": 3, "text": "Ulm"}]}'
    >>> content = '{"data": [{"title": "Ulm", "paragraphs": [{"context": "In Ulm.", "qas": [%s]}]}]}' % asked
    >>> [article.rows for article in articles(content, "a.json")]
    [[Example(text=('where?', 'In Ulm.'), label=((3, 'Ulm'),))]]
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); expected one object with the key 'data'") from None
    empty = True
    for a, article in enumerate(_list(content, "data", where)):
        rows = []
        for p, paragraph in enumerate(_list(article, "paragraphs", f"{where}, data[{a}]")):
            there = f"{where}, data[{a}].paragraphs[{p}]"
            context = _text(paragraph, "context", there)
            for q, asked in enumerate(_list(paragraph, "qas", there)):
                question = f"{there}.qas[{q}]"
                rows.append(Example((_text(asked, "question", question), context), _answers(asked, question)))
        if rows:
            empty = False
            yield Article(str(article.get("title", "")), rows)
    if empty:
        raise DataError(f"{where}: no questions; expected data, in it paragraphs, in them qas")


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


def require_answers(where: str, rows: Rows, labels: tuple[str, ...] = ()) -> None:
    """Raises DataError for answers that are not in their context at their place, naming the first five."""
    span = named("span")
    wrong = [(row, why) for row in rows if (why := span.problem(row, labels)) is not None]
    if wrong:
        listed = "; ".join(f"{cast('tuple[str, str]', row.text)[0]!r:.80}: {why}" for row, why in wrong[:5])
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise DataError(f"{where}: {len(wrong)} of {len(rows)} questions are wrong: {listed}{more}; mend or drop them")
