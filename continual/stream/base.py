"""Tasks in an order: the data side of continual learning. No torch, no tokeniser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from continual.files import canonical, sha256


class Example(NamedTuple):
    """One labelled text; ``label`` indexes the labels of its task."""

    text: str
    label: int


Rows = Sequence[Example]


@dataclass(frozen=True)
class Task:
    """One question with its data. ``source`` says where the rows come from and under which licence."""

    name: str
    labels: tuple[str, ...]
    train: Rows = field(repr=False)
    valid: Rows = field(repr=False)
    test: Rows = field(repr=False)
    head: str = "classify"
    score: str = "accuracy"
    source: str = ""

    @cached_property
    def digest(self) -> str:
        """Of everything a result depends on: name, labels, head, score and all rows in order."""
        facts = [self.name, list(self.labels), self.head, self.score]
        return sha256(canonical(facts), *(canonical([list(row) for row in split]) for split in self.splits.values()))

    @property
    def splits(self) -> dict[str, Rows]:
        return {"train": self.train, "valid": self.valid, "test": self.test}


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they arrive."""

    name: str
    tasks: tuple[Task, ...]

    @cached_property
    def digest(self) -> str:
        return sha256(*(task.digest.encode() for task in self.tasks))
