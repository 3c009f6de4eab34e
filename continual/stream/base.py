"""Tasks in an order: the data side of continual learning. No torch, no tokeniser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple

from continual.files import canonical, canonical_list, sha256, sha256_of


class Image(NamedTuple):
    """An RGB image: its height and width, and 3 bytes a pixel, row by row."""

    height: int
    width: int
    pixels: bytes


class Example(NamedTuple):
    """One labelled row. What ``text`` and ``label`` are is the task's head's to say (``continual/head``):

    a text, a pair of texts, a text in words, a question with its context, or an Image; the index of a label, several of
    them, a number, or the answers to a question.
    """

    text: str | tuple[str, ...] | Image
    label: Any

    @property
    def content(self) -> list[Any]:
        """As plain JSON values: what a digest is taken over."""
        if isinstance(self.text, Image):
            return ["image", self.text.height, self.text.width, sha256(self.text.pixels), self.label]
        return [self.text, self.label]


Rows = Sequence[Example]


@dataclass(frozen=True)
class Task:
    """One question with its data. ``source`` says where the rows come from and under which licence.

    head    what kind of question it is: a file of ``continual/head``
    score   how its answers are judged: a file of ``continual/score``; empty: as the head proposes
    """

    name: str
    labels: tuple[str, ...]
    train: Rows = field(repr=False)
    valid: Rows = field(repr=False)
    test: Rows = field(repr=False)
    head: str = "classify"
    score: str = ""
    source: str = ""

    @cached_property
    def digest(self) -> str:
        """Of everything a result depends on: name, labels, head, score and all rows in order."""
        facts = [canonical([self.name, list(self.labels), self.head, self.score])]
        return sha256_of([lambda: facts, *(partial(_contents, rows) for rows in self.splits.values())])

    @cached_property
    def tested(self) -> str:
        """Digest of the test rows, in order: what is scored on the same rows can be compared row by row."""
        return sha256_of([partial(_contents, self.test)])

    @property
    def splits(self) -> dict[str, Rows]:
        return {"train": self.train, "valid": self.valid, "test": self.test}


def _contents(rows: Rows) -> Iterator[bytes]:
    """Canonical JSON of all rows, in pieces."""
    return canonical_list(row.content for row in rows)


Scenario = Literal["task", "domain", "class", "shared"]
"""What changes from task to task, and so what may be known of a row when it is answered (van de Ven et al. 2022).

task    each task has labels of its own, and its row is answered among them
domain  the question and its labels stay, the texts change: every task has the same labels
class   classes are added: a row is answered among those of all tasks, and each belongs to one task
shared  classes are added, and some come again: a label that two tasks name alike is one class (the 33 classes of the
        five data sets of MbPA++, where Yelp and Amazon have the same)
"""


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they arrive."""

    name: str
    tasks: tuple[Task, ...]
    scenario: Scenario = "task"

    @cached_property
    def digest(self) -> str:
        other = () if self.scenario == "task" else (self.scenario.encode(),)
        return sha256(*(task.digest.encode() for task in self.tasks), *other)
