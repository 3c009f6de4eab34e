"""How long it takes to open a board of 1,000 records, each hashed, read, checked and ranked again.

    python benchmarks/board/scan.py          make records/scan.json anew, on a machine that does nothing else

The records are made up out of one of a real run: other seeds, orders and choices under it, and scores that differ.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from continual.board import records, rules
from continual.board.rules import Order, Rules
from continual.board.sound import ledger
from continual.board.standings import open_board
from continual.files import canonical, sha256, write_json
from continual.metric.base import measure
from continual.report.record import CellFacts, Metric, Record, load

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "quickstart" / "records" / "isolated-s0.json"
ROWS, SEEDS, ORDERS = 20, 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--out", type=Path, default=HERE / "records" / "scan.json")
    given = parser.parse_args()
    source = load(SOURCE)
    with TemporaryDirectory() as folder:
        board = Path(folder)
        made(board, source, given.rows)
        files = list(board.glob("records/*/*.json"))
        size = sum(path.stat().st_size for path in files)
        seconds = [timed(board, given.rows) for _ in range(given.repeat + 1)][1:]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    found = {"schema": 1, "records": len(files), "bytes": size, "tasks": len(source.tasks), "cells": len(source.cells)}
    write_json(given.out, {**found, "seconds": seconds, "machine": machine()})
    print(f"{len(files):,} records, {size / 1e6:.1f} MB: median {median(seconds):.3f} s, worst {max(seconds):.3f} s")


def timed(board: Path, rows: int) -> float:
    """Files are in the page cache, as the first opening leaves them."""
    started = time.perf_counter()
    found = open_board(board)
    seconds = time.perf_counter() - started
    assert len(found.standings) == rows
    assert found.rejected == []
    return round(seconds, 4)


def made(board: Path, source: Record, rows: int) -> None:
    """A board of ``rows`` rows of 50 runs."""
    asked = rules_of(source)
    rules.save(asked, board)
    for row in range(rows):
        for seed, order in asked.jobs:
            record = variant(source, row, seed, next(o.digest for o in asked.orders if o.name == order))
            records.put(board, f"row-{row}", record.model_dump_json(indent=1).encode())


def rules_of(source: Record) -> Rules:
    names = [task.name for task in source.tasks]
    choices = source.config["choices"]
    return Rules(
        name="scan",
        asks="How long does it take to check a thousand records?",
        metric=source.metrics["average_accuracy"].definition,
        experiment=[],
        frozen={},
        stream=source.stream,
        scenario=source.scenario,
        encoder={key: choices.get(key) for key in ("encoder", "reading", "max_length", "pooling")},
        code=None,
        seeds=list(range(SEEDS)),
        orders=[Order(name=str(n), override=None, tasks=names, digest=sha256(str(n).encode())) for n in range(ORDERS)],
    )


def variant(source: Record, row: int, seed: int, digest: str) -> Record:
    """Sound in itself: its id follows from its choices, its metrics from its cells."""
    chosen = source.config["choices"]
    choices = {**chosen, "seed": seed, "stream": digest, "recipe": {**chosen["recipe"], "lr": 1e-4 * (row + 1)}}
    shift = 1e-4 * ((7 * row + 3 * seed + int(digest[:2], 16)) % 41)
    cells = [cell if cell.score is None else lowered(cell, shift) for cell in source.cells]
    changes: dict[str, Any] = {"id": sha256(canonical(choices))[:16], "seed": seed, "stream_digest": digest}
    found = source.model_copy(update={**changes, "cells": cells, "config": {**source.config, "choices": choices}})
    metrics = {name: Metric(**asdict(value)) for name, value in measure(ledger(found)).items()}
    return found.model_copy(update={"metrics": metrics})


def lowered(cell: CellFacts, shift: float) -> CellFacts:
    return cell.model_copy(update={"score": (cell.score or 0.0) - shift})


def machine() -> dict[str, str]:
    return {
        "processor": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("pydantic", "numpy")},
    }


if __name__ == "__main__":
    main()
