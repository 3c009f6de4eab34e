"""Boards of made-up records: whole runs in what a board looks at, without a second of training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from continual.board import rules as of_rules
from continual.board.add import add
from continual.board.rules import Order, Rules
from continual.files import canonical, sha256
from continual.ledger import Cell, Ledger
from continual.metric.base import measure
from continual.report.record import CellFacts, Metric, Record, save
from tests.report import sample

TASKS = ("rte", "mrpc", "sst2")
ORDERS = {"forth": TASKS, "back": TASKS[::-1]}
SEEDS = (0, 1, 2)
ENCODER = {"encoder": "ab" * 32, "reading": "cd" * 32, "max_length": 64, "pooling": "mean"}


def digest_of(order: str) -> str:
    return sha256(order.encode())


def rules(**changes: Any) -> Rules:
    orders = [
        Order(name=name, override=None, tasks=list(tasks), digest=digest_of(name)) for name, tasks in ORDERS.items()
    ]
    given = {
        "name": "made-up",
        "asks": "Which row is best?",
        "metric": "average_accuracy@1",
        "experiment": ["trainer.epochs=3"],
        "frozen": {"trainer.epochs": 3},
        "stream": "glue-four",
        "scenario": "task",
        "encoder": ENCODER,
        "code": None,
        "seeds": list(SEEDS),
        "orders": orders,
    }
    return Rules(**{**given, **changes})


def record(
    seed: int = 0,
    order: str = "forth",
    method: str = "lora",
    gain: float = 0.0,
    config: dict[str, Any] | None = None,
    **choice: Any,
) -> Record:
    """A run that the rules admit; ``gain`` is added to every score, and seed and order to some of them."""
    choices = {
        **ENCODER,
        "stream": digest_of(order),
        "method": [method, {"rank": 8}],
        "strategy": ["isolated", {}],
        "sources": [],
        "seed": seed,
        "target": 0,
        "code": "c630ccb",
        **choice,
    }
    base = sample.record(ORDERS[order], compositions=False)
    shift = gain + 0.01 * seed + (0.005 if order == "back" else 0.0)
    cells = [cell.model_copy(update={"score": cell.score + shift}) for cell in base.cells if cell.score is not None]
    return measured(
        base,
        cells,
        id=sha256(canonical(choices))[:16],
        stream_digest=digest_of(order),
        seed=seed,
        method=method,
        code=choices["code"],
        config={"seed": seed, "target": None, "trainer": {"epochs": 3}, **(config or {}), "choices": choices},
    )


def measured(base: Record, cells: list[CellFacts], **changes: Any) -> Record:
    """With metrics that follow from its cells."""
    ledger = Ledger(task.name for task in base.tasks)
    ledger.add(Cell(**dict(cell)) for cell in cells)
    metrics = {name: Metric(**asdict(metric)) for name, metric in measure(ledger).items()}
    return base.model_copy(update={"cells": cells, "metrics": metrics, **changes})


def runs(folder: Path, **given: Any) -> Path:
    """A folder of the runs of one row."""
    for seed in SEEDS:
        for order in ORDERS:
            made = record(seed, order, **given)
            (folder / made.id).mkdir(parents=True)
            save(made, folder / made.id / "run.json")
    return folder


def board(folder: Path, rows: dict[str, dict[str, Any]], **changes: Any) -> Path:
    """A board with these rows: {name: arguments of ``record``}."""
    of_rules.save(rules(**changes), folder / "board")
    for name, given in rows.items():
        found = add(folder / "board", [runs(folder / f"runs-{name}", **given)], name)
        assert found.refused == []
    return folder / "board"


def edit(path: Path, change: Any) -> None:
    """Of a JSON file."""
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
