"""The files of TweetEval: a text a line, and in another file its label, a number."""

from __future__ import annotations

from collections.abc import Sequence

from continual.errors import DataError
from continual.stream.mirror import read_text

FILES = {"train": "train", "valid": "val", "test": "test"}  # split -> as the files are named


def pairs(task: str, labels: Sequence[str], mirror: str | None = None) -> dict[str, list[tuple[str, str]]]:
    """(label, text) of each split of "offensive", "stance/climate", …; ``labels``: the names of 0, 1, …

    Raises DataError, with the line: more texts than labels, or fewer; a label that is none of those numbers.
    """
    return {split: _read(f"tweeteval/{task}/{file}", labels, mirror) for split, file in FILES.items()}


def _read(file: str, labels: Sequence[str], mirror: str | None) -> list[tuple[str, str]]:
    texts, numbers = (
        read_text(f"{file}_{what}.txt", mirror).removesuffix("\n").split("\n") for what in ("text", "labels")
    )
    if len(texts) != len(numbers):
        raise DataError(f"{file}_labels.txt: expected a label for each of {len(texts)} texts, got {len(numbers)}")
    known = {str(place): label for place, label in enumerate(labels)}
    *most, last = known
    for line, number in enumerate(numbers, 1):
        if number.strip() not in known:
            raise DataError(f"{file}_labels.txt, line {line}: expected {', '.join(most)} or {last}, got {number!r:.40}")
    return [(known[number.strip()], text) for number, text in zip(numbers, texts, strict=True)]
