"""Intents in tasks: CLINC150 in its ten domains, Banking77 in seven groups, as their authors publish them.

CLINC150 (Larson et al. 2019, CC BY 3.0): ``data_full.json.gz`` and ``domains.json`` of clinc/oos-eval, in
``clinc150/``.
Banking77 (Casanueva et al. 2020, CC BY 4.0): ``train.csv.gz``, ``test.csv.gz`` and ``categories.json`` of
PolyAI-LDN/task-specific-datasets, in ``banking77/``.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from continual.stream.base import Example, Rows, Task
from continual.stream.sample import draws, split

GROUP = 11
"""Intents of a task of Banking77: 7 × 11."""


def clinc(folder: Path, seed: int) -> list[Task]:
    """Ten domains of 15 intents: 1,500 rows to train, 300 held out and 450 to test each; the seed gives their order."""
    splits = _clinc(folder)
    domains = json.loads((folder / "clinc150" / "domains.json").read_text(encoding="utf-8"))
    tasks = []
    for name, intents in sorted(domains.items()):
        rows = (_rows(splits[key], intents) for key in ("train", "val", "test"))
        tasks.append(Task(name, tuple(intents), *rows, source="CLINC150, CC BY 3.0"))
    return [tasks[i] for i in shuffled(len(tasks), "clinc", seed)]


def out_of_scope(folder: Path, split: str = "test") -> Rows:
    """CLINC150's queries of no intent: 1,000 to test, 100 in "val"."""
    return [Example(text, 0) for text, _ in _clinc(folder)[f"oos_{split}"]]


def banking(folder: Path, seed: int) -> list[Task]:
    """Seven groups of 11 intents, which the seed deals out; a tenth of the rows to train is held out."""
    place = folder / "banking77"
    names = json.loads((place / "categories.json").read_text(encoding="utf-8"))
    train, test = (_table(place / f"{split}.csv.gz") for split in ("train", "test"))
    dealt = [names[i] for i in shuffled(len(names), "banking", seed)]
    tasks = []
    for first in range(0, len(dealt), GROUP):
        intents, name = dealt[first : first + GROUP], f"group-{first // GROUP}"
        learned, held = split(_rows(train, intents), 0.1, seed, name)
        tasks.append(Task(name, tuple(intents), learned, held, _rows(test, intents), source="Banking77, CC BY 4.0"))
    return tasks


def shuffled(count: int, name: str, seed: int) -> list[int]:
    """An order of 0 … count - 1, a function of (name, seed)."""
    return draws(count, name, seed).argsort().tolist()


def _rows(pairs: Iterable[tuple[str, str]], intents: Sequence[str]) -> list[Example]:
    """The rows of these intents, each text once."""
    index = {intent: i for i, intent in enumerate(intents)}
    found = {text: index[intent] for text, intent in pairs if intent in index}
    return [Example(text, label) for text, label in found.items()]


def _clinc(folder: Path) -> dict[str, list[tuple[str, str]]]:
    with gzip.open(folder / "clinc150" / "data_full.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def _table(path: Path) -> list[tuple[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]
