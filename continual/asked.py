"""What a stored module answers to rows that nobody has labelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.head.base import Head
from continual.predict import answers
from continual.recalled import Recalled
from continual.store import Card
from continual.stream.base import Example
from continual.stream.image import ImageReader
from continual.stream.text import Reader

Row = Any
"""As ``Example.text``: a text, a pair, words, a question with its context or options; an Image."""

BLANK: dict[str, Callable[[Row], Any]] = {
    "classify": lambda row: 0,
    "multilabel": lambda row: (),
    "regress": lambda row: 0.0,
    "tag": lambda words: (0,) * len(words) if isinstance(words, tuple) else (),
    "span": lambda row: (),
    "choice": lambda row: 0,
}
"""A label in the place of the one that is asked for: a head reads it, and no answer depends on it."""


def ask(model: AdaptedEncoder, module: Recalled, rows: Sequence[Row]) -> list[Any]:
    """The answer to each row, in order: install the module, read the rows in batches, say labels by their names.

    classify a label · multilabel a tuple of labels · regress a number · tag a label for each word · span a piece of
    the context, ``""`` where there may be no answer · choice the option that is right

    Raises ContinualError for a module without a head, for one that retrieves (its answer is a rank among all rows), for
    an encoder that pools otherwise than the module's, and for rows that are not what its head reads.
    """
    card, kind = module.card, module.head
    if isinstance(rows, str):
        raise ContinualError(f"expected a list of rows, got one text, {rows!r:.40}: put it into a list")
    if kind is None or card.head not in BLANK:
        has = f"the head {card.head!r}" if kind else "no head"
        raise ContinualError(f"a module with {has} has no answer to a row by itself; those that do: {', '.join(BLANK)}")
    if card.pooling != model.pooling:
        raise ContinualError(f"the module's head reads {card.pooling} pooling, got {model.pooling}: load(…, pooling=…)")
    asked = [_example(kind, card, number, row) for number, row in enumerate(rows)]
    if not asked:
        return []
    reader = (ImageReader if model.arch.image else Reader)(model.tokenizer, model.max_length)
    module.install(model)
    bank = HeadBank([(kind, module.head_params)]).to(next(model.encoder.parameters()).device)
    found = answers(model, bank, reader(asked, kind, card.labels))
    return [_said(card, answer, row.text) for answer, row in zip(found, asked, strict=True)]


def _example(kind: Head, card: Card, number: int, row: Row) -> Example:
    text = tuple(row) if isinstance(row, list) else row
    example = Example(text, BLANK[card.head](text))
    if (why := kind.problem(example, card.labels or ("none",))) is not None:
        raise ContinualError(f"row {number} is not what a {card.head} head reads: {why}")
    return example


def _said(card: Card, answer: Any, row: Row) -> Any:
    if card.head == "classify":
        return card.labels[answer]
    if card.head in ("multilabel", "tag"):
        return tuple(card.labels[index] for index in answer)
    return row[1 + answer] if card.head == "choice" else answer
