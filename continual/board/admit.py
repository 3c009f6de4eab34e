"""Which run of a row a record is, if the rules admit it, and what makes it a run of that row and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from continual.board.rules import Job, Rules
from continual.errors import ContinualError
from continual.files import canonical, sha256
from continual.metric.base import Measured
from continual.report.record import Record

SHARED = ("seed", "stream", "target", "encoder", "reading", "max_length", "pooling")
"""Of a run's choices those that rules fix, or draw. A target is a number in an order; its name stands beside."""


def admit(rules: Rules, record: Record, measured: Measured) -> tuple[Job, float]:
    """Its seed and order, and its number: the board's metric as it follows from its cells.

    Raises ContinualError that says each rule it breaks: what is expected, what it has.
    """
    broken = [*_drawn(rules, record), *_equal(rules, record), *_measured(rules, record, measured)]
    if broken or measured.value is None:
        raise ContinualError("; ".join(broken))
    return (record.seed, _orders(rules)[record.stream_digest]), measured.value


def varied(record: Record) -> dict[str, Any]:
    """The choices that a row is free in: two records with equal ones are of the same row."""
    choices = {key: value for key, value in record.config["choices"].items() if key not in SHARED}
    return {**choices, "target": record.config.get("target")}


def key_of(record: Record) -> str:
    """Equal of two records of one row."""
    return sha256(canonical(varied(record)))


def differing(ours: Record, theirs: Record) -> str:
    """The names of what two records vary, for messages."""
    left, right = varied(ours), varied(theirs)
    return ", ".join(key for key in {**left, **right} if left.get(key) != right.get(key))


def lacking(rules: Rules, jobs: set[Job]) -> str:
    """The runs that a row does not have, in words; empty where it has all."""
    return ", ".join(f"seed {seed} of order {order}" for seed, order in rules.jobs if (seed, order) not in jobs)


def _orders(rules: Rules) -> dict[str, str]:
    return {order.digest: order.name for order in rules.orders}


def _drawn(rules: Rules, record: Record) -> Iterator[str]:
    if record.seed not in rules.seeds:
        yield f"expected a seed of {rules.seeds}, got {record.seed}"
    if record.stream_digest not in _orders(rules):
        tasks = ", ".join(task.name for task in record.tasks)
        yield (
            f"expected stream {rules.stream} in an order of {', '.join(_orders(rules).values())}, got stream "
            f"{record.stream} of digest {record.stream_digest[:12]}, which is none of theirs ({tasks})"
        )


def _equal(rules: Rules, record: Record) -> Iterator[str]:
    choices = record.config["choices"]
    found = [("scenario", rules.scenario, record.scenario)]
    found += [(f"choices.{key}", value, choices.get(key)) for key, value in rules.encoder.items()]
    found += [(key, value, _at(record.config, key)) for key, value in rules.frozen.items()]
    found += [("sources", [], choices.get("sources", []))]  # a row can be made again from its records alone
    if rules.code is not None:
        found.append(("source of the package", rules.code, record.code))
    for key, expected, got in found:
        if expected != got:
            yield f"expected {key} {_short(expected)}, got {_short(got)}"


def _measured(rules: Rules, record: Record, found: Measured) -> Iterator[str]:
    if not (record.encoder_unchanged and record.modules_unchanged):
        yield "its encoder or its stored modules changed during the run"
    if found.value is None:
        yield f"its {rules.metric} is undefined"
    if found.missing:
        yield f"cells that {rules.metric} reads are missing: {found.missing}"


def _at(config: dict[str, Any], path: str) -> Any:
    value: Any = config
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
