"""The rows of ``effect.py`` in one file that ``effect_data.py`` writes; the few of a target that a seed draws."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from continual.files import canonical, sha256
from continual.stream.base import Example, Rows, Stream, Task
from continual.stream.lint import check
from continual.stream.sample import split


@dataclass(frozen=True)
class Pack:
    """Sources to learn from; targets, whose ``train`` is the pool that ``few`` draws from."""

    sources: dict[str, Task]
    targets: dict[str, Task]

    @property
    def digest(self) -> str:
        return sha256(*(task.digest.encode() for task in [*self.sources.values(), *self.targets.values()]))


def few(task: Task, rows: int, seed: int) -> Task:
    """The target with so many training rows and, where the pool has them, as many to validate; classes in proportion.

    Raises ValueError where the protocol's lint finds fault with it.
    """
    rest, train = split(task.train, rows, seed, f"{task.name}/train")
    spare = max(0, len(rest) - len(task.labels))
    _, valid = split(rest, min(rows, spare), seed, f"{task.name}/valid")
    made = replace(task, train=train, valid=valid)
    if warnings := check(Stream("effect", (made,))):
        raise ValueError("; ".join(warnings))
    return made


def majority(task: Task) -> float:
    """The accuracy on the test rows of always saying their most frequent label."""
    counts = Counter(row.label for row in task.test)
    return max(counts.values()) / len(task.test)


def write(pack: Pack, path: Path) -> None:
    """The same bytes for the same rows."""
    plain = {kind: [_plain(task) for task in tasks.values()] for kind, tasks in vars(pack).items()}
    path.write_bytes(gzip.compress(canonical(plain), 9, mtime=0))


def read(path: Path) -> Pack:
    plain: dict[str, list[dict[str, Any]]] = json.loads(gzip.decompress(path.read_bytes()))
    return Pack(**{kind: {task["name"]: _task(task) for task in tasks} for kind, tasks in plain.items()})


def _plain(task: Task) -> dict[str, Any]:
    splits = {part: [list(row) for row in rows] for part, rows in task.splits.items()}
    return {"name": task.name, "labels": task.labels, "head": task.head, "score": task.score, **splits}


def _task(plain: dict[str, Any]) -> Task:
    def rows(part: str) -> Rows:
        return [Example(tuple(text) if isinstance(text, list) else text, label) for text, label in plain[part]]

    labels = tuple(plain["labels"])
    train, valid, test = map(rows, ("train", "valid", "test"))
    return Task(plain["name"], labels, train, valid, test, head=plain["head"], score=plain["score"])
