"""The fifteen corpora of O-LoRA's ``CL_Benchmark``: their folders, rows, labels, and pairs, as tasks.

``task_streams/fifteen.py`` says where they are from, under which licence, how many rows there are and what is odd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from continual.errors import DataError
from continual.stream.base import Task
from continual.stream.clean import Text, cleaned, indexed
from continual.stream.mirror import read_json
from continual.stream.sample import sized

FOLDERS = {
    "mnli": "MNLI",
    "cb": "CB",
    "wic": "WiC",
    "copa": "COPA",
    "qqp": "QQP",
    "boolqa": "BoolQA",
    "rte": "RTE",
    "imdb": "IMDB",
    "yelp": "yelp",
    "amazon": "amazon",
    "sst-2": "SST-2",
    "dbpedia": "dbpedia",
    "agnews": "agnews",
    "multirc": "MultiRC",
    "yahoo": "yahoo",
}
"""Task -> its folder in cl_benchmark."""


def task(
    name: str,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> Task:
    """One of ``FOLDERS``, cleaned, with random stratified subsets that depend on ``seed`` and ``name`` alone.

    shots   rows of train of each class; or train: so many in all; None: all
    valid   rows of valid, taken from train; None: a tenth of train
    test    rows of test; None: all
    mirror  folder with cl_benchmark/; None: CONTINUAL_DATA
    Labels are sorted. Raises ContinualError: a file that is not there, is not JSON, or holds what is no row.
    """
    place = f"cl_benchmark/{FOLDERS[name]}"
    labels = tuple(sorted(_list(f"{place}/labels.json", mirror)))
    divide = PAIRS.get(name, str)
    pairs = {
        split: [_row(row, labels, divide, f"{place}/{split}.json, row {i}") for i, row in enumerate(found)]
        for split in ("train", "test")
        for found in [_list(f"{place}/{split}.json", mirror)]
    }
    splits = sized(indexed(cleaned(pairs), labels), train, valid, test, seed, name, shots)
    return Task(
        name,
        labels,
        **splits,
        head="classify",
        score="",
        source="cl_benchmark of O-LoRA (MIT); the data set is for research",
    )


def _list(file: str, mirror: str | None) -> list[Any]:
    found = read_json(file, mirror)
    if not isinstance(found, list):
        raise DataError(f"{file}: expected a list, got {type(found).__name__}")
    return found


def _row(row: Any, labels: Sequence[str], divide: Callable[[str], Text], where: str) -> tuple[str, Text]:
    if not (isinstance(row, dict) and isinstance(row.get("sentence"), str) and row.get("label") in labels):
        raise DataError(
            f'{where}: expected {{"label": one of {", ".join(labels)}, "sentence": a text}}, got {row!r:.90}'
        )
    return row["label"], divide(row["sentence"])


def _between(first: str, second: str) -> Callable[[str], Text]:
    """Two texts that are marked, as a pair.

    >>> _between("sentence 1:", "sentence 2:")("sentence 1: It rains.\\nsentence 2: It is wet.")
    ('It rains.', 'It is wet.')
    """

    def divide(text: str) -> Text:
        one, _, two = text.removeprefix(first).rpartition(f"\n{second}")
        return one.strip(), two.strip()

    return divide


def _answer(text: str) -> Text:
    """
    >>> _answer("paragraph: A long one.\\nquestion: Why?\\ncandidate answer: So.\\n")
    ('A long one.', 'Why? So.')
    """
    paragraph, _, asked = text.removeprefix("paragraph:").rpartition("\nquestion:")
    question, _, answer = asked.rpartition("\ncandidate answer:")
    return paragraph.strip(), f"{question.strip()} {answer.strip()}"


def _sense(text: str) -> Text:
    """
    >>> _sense("word: spot\\nThe same spot.\\nA bald spot.")
    ('spot: The same spot.', 'A bald spot.')
    """
    word, one, two = text.removeprefix("word:").split("\n", 2)
    return f"{word.strip()}: {one.strip()}", two.strip()


def _options(text: str) -> Text:
    """
    >>> _options('Which is the cause of "It rains."? Choose one between A and B.\\nA: The sun.\\nB: A cloud.')
    ('Which is the cause of "It rains."?', 'A: The sun. B: A cloud.')
    """
    question, _, options = text.partition("\nA:")
    asked = question.removesuffix("Choose one between A and B.").strip()
    return asked, f"A: {' '.join(options.split())}"


PAIRS: dict[str, Callable[[str], Text]] = {
    **dict.fromkeys(("mnli", "cb", "rte"), _between("sentence 1:", "sentence 2:")),
    "qqp": _between("first sentence:", "second sentence:"),
    "boolqa": _between("question:", "passage:"),
    "multirc": _answer,
    "wic": _sense,
    "copa": _options,
}
"""Tasks whose sentence is two texts -> how it is divided."""
