"""What all corpora lose before they are split: empty texts, repeated ones, and texts of train that are in test."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from continual.stream.base import Example
from continual.stream.content import content

Text = str | tuple[str, ...]
Pairs = Iterable[tuple[Any, Text]]  # (label, text)


def clean(pairs: Pairs, known: Collection[bytes] = ()) -> list[tuple[Any, Text]]:
    """No empty text, none whose content is in ``known``, of equal ones the first, none with two labels.

    Texts that differ in case and spacing only are equal (``content``). A pair with an empty text is empty.

    >>> clean([("a", "One"), ("a", "one "), ("b", " "), ("a", "two"), ("b", "two"), ("b", "three")])
    [('a', 'One'), ('b', 'three')]
    """
    first: dict[bytes, tuple[Any, Text] | None] = {}
    for label, text in pairs:
        parts = (text,) if isinstance(text, str) else text
        if all(part.strip() for part in parts) and (key := content(text)) not in known:
            kept = first.setdefault(key, (label, text))
            if kept is not None and kept[0] != label:
                first[key] = None
    return [pair for pair in first.values() if pair is not None]


def cleaned(splits: Mapping[str, Pairs]) -> dict[str, list[tuple[Any, Text]]]:
    """Each split clean, and no text of it in a later one of train, valid, test: test keeps what it has.

    >>> cleaned({"train": [("a", "one"), ("a", "two")], "test": [("b", "Two"), ("b", "three")]})
    {'train': [('a', 'one')], 'test': [('b', 'Two'), ('b', 'three')]}
    """
    found: dict[str, list[tuple[Any, Text]]] = {}
    known: set[bytes] = set()
    for split in reversed([split for split in ("train", "valid", "test") if split in splits]):
        pairs = list(splits[split])
        found[split] = clean(pairs, known)
        known |= {content(text) for _, text in pairs}
    return {split: found[split] for split in splits}


def indexed(splits: Mapping[str, Pairs], labels: Iterable[str]) -> dict[str, list[Example]]:
    """Rows whose labels are positions in ``labels``. KeyError for a label that is not there."""
    index = {label: i for i, label in enumerate(labels)}
    return {split: [Example(text, index[label]) for label, text in pairs] for split, pairs in splits.items()}
