"""What the tables and the expectations take from records: plain functions of one record, or of several."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

Record = dict[str, Any]
Sweep = dict[str, list[Record]]
"""{experiment: its records, one an order or seed}."""
Value = Callable[[Record], float | None]


def sweeps(folder: Path) -> dict[str, Sweep]:
    found: dict[str, Sweep] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[record["sweep"]][record["experiment"]].append(record)
    return found


def given(record: Record) -> float | None:
    """Average accuracy after the last task where each row's task is given."""
    last = (record["oracle"] or record["learn"])[-1]
    seen = [score for score in last if score is not None]
    return mean(seen) if seen else None


def told_nothing(record: Record) -> float | None:
    """The same where it is not: of one head over all labels, or of a router's module. None: it cannot answer so."""
    if record["oracle"] is not None:
        return record["metrics"]["average_accuracy"]
    return _routed(record, "total")


def route(record: Record) -> float | None:
    return _routed(record, "route")


def within(record: Record) -> float | None:
    """Over all rows, right by the own module: what ``told_nothing`` would be if every row were routed right."""
    return _routed(record, "oracle")


def accuracy(record: Record) -> float | None:
    """By the rules of its scenario: with the task given, or not."""
    return given(record) if record["scenario"] == "task" else told_nothing(record)


def metric(name: str) -> Value:
    return lambda record: record["metrics"].get(name)


def known(value: Value, records: Sequence[Record]) -> list[float]:
    return [got for record in records if (got := value(record)) is not None]


def average(value: Value, records: Sequence[Record]) -> float | None:
    found = known(value, records)
    return mean(found) if found else None


def points(value: Value, records: Sequence[Record]) -> str:
    """Mean, and the standard deviation over orders or seeds; – where there is nothing."""
    found = known(value, records)
    if not found:
        return "–"
    spread = f" ± {100 * stdev(found):.1f}" if len(found) > 1 else ""
    return f"{100 * mean(found):.1f}{spread}"


def _routed(record: Record, key: str) -> float | None:
    if record["routing"] is None:
        return None
    return [row for row in record["routing"]["rows"] if row["task"] is None][-1][key]
