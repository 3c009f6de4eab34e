"""Streams on which a tiny encoder can be seen to forget, and runs of seconds on them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from continual.encoder.frozen import Encoder
from continual.ledger import Cell
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.hat import HAT
from continual.method.lora import LoRA
from continual.method.prompt import Prompt
from continual.report.record import Record
from continual.request import Recipe
from continual.stream.base import Example, Scenario, Stream, Task
from tests import running, tiny

WORDS = ("apple", "pear", "north", "south", "iron", "gold", "here", "there", "now", "then")
SCENARIOS: tuple[Scenario, ...] = ("task", "domain", "class")
METHOD = Bottleneck(reduction_factor=2)
METHODS: dict[str, Described] = {"hat": HAT(reduction_factor=2), "olora": LoRA(rank=2), "progressive": Prompt(length=4)}
"""What a strategy that works with some methods only is tested with; the others with ``METHOD``."""
OPTIONS: dict[str, dict[str, Any]] = {"ranpac": {"features": 64}, "chain": {"of": ("replay", "si")}}
"""Of a strategy whose defaults are too much for a test of seconds."""


def texts(words: tuple[str, str], count: int, salt: str) -> list[Example]:
    """One of two words, many times, says the label; the others say nothing."""
    filler = WORDS[6:]
    return [Example(f"{' '.join([words[i % 2]] * 6)} {filler[i // 2 % 4]} {salt}{i}", i % 2) for i in range(count)]


def stream(scenario: Scenario = "task", tasks: int = 3, rows: int = 32) -> Stream:
    """Each task asks for another pair of words; with "class" every task has labels of its own."""
    found = []
    for number in range(tasks):
        pair, name = (WORDS[2 * number], WORDS[2 * number + 1]), f"task-{number}"
        labels = (f"{number}a", f"{number}b") if scenario == "class" else ("a", "b")
        train, valid, test = (texts(pair, n, salt) for n, salt in ((rows, "r"), (8, "v"), (16, "t")))
        found.append(Task(name, labels, train, valid, test))
    return Stream("words", tuple(found), scenario)


@cache
def encoder() -> Encoder:
    return tiny.encoder("bert", words=WORDS)


def run(root: Path, **changes: Any) -> Record:
    given = {
        "encoder": encoder(),
        "stream": stream(),
        "method": METHOD,
        "recipe": Recipe(lr=0.02, epochs=8, batch_size=8),
    }
    return running.run(root, **{**given, **changes})


def cells(record: Record, stage: str = "learn") -> dict[tuple[int, int], Cell]:
    """Of seen tasks, by (after, task)."""
    return {(c.after, c.task): c for c in record.cells if c.stage == stage and c.how == "own"}
