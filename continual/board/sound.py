"""Whether a record says of itself what follows from it: its id from its choices, its metrics from its cells."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import cast

from continual.errors import CorruptError
from continual.files import canonical, sha256
from continual.ledger import Cell, Ledger
from continual.metric.base import ZERO, Measured, metrics
from continual.report.record import Record

TOLERANCE = 1e-9
"""Between a metric that a record has and the same computed here: another processor may add in another order."""


def ledger(record: Record) -> Ledger:
    """Its cells, as metrics read them."""
    found = Ledger(task.name for task in record.tasks)
    found.add(cast("list[Cell]", record.cells))  # of the same fields: a thousand records are not copied first
    return found


def require(record: Record, names: Iterable[str]) -> dict[str, Measured]:
    """The metrics in ``names``, as they follow from its cells.

    Raises CorruptError that says all that contradicts itself; a metric that has another version there is left alone.
    """
    if faults := [*_dated(record), *_identity(record), *_cells(record)]:
        raise CorruptError("; ".join(faults))
    cells, known = ledger(record), metrics()
    found = {name: known[name].measure(cells) for name in names}
    if faults := list(_metrics(record, found)):
        raise CorruptError("; ".join(faults))
    return found


def _dated(record: Record) -> Iterator[str]:
    try:
        zoned = datetime.fromisoformat(record.created).tzinfo is not None
    except ValueError:
        zoned = False
    if not zoned:
        yield f"its date is {record.created!r}; expected one of ISO 8601 with a zone"


def _identity(record: Record) -> Iterator[str]:
    choices = record.config.get("choices")
    if not isinstance(choices, dict):
        yield "expected the choices that it was made with in its configuration, got none"
        return
    chosen = [choices.get(key) for key in ("strategy", "method")]
    facts = {
        "seed": (record.seed, choices.get("seed")),
        "stream": (record.stream_digest, choices.get("stream")),
        "encoder": (record.encoder.fingerprint, choices.get("encoder")),
        "code": (record.code, choices.get("code")),
        "strategy and method": ([record.strategy, record.method], [pair[0] if pair else None for pair in chosen]),
    }
    for key, (said, chose) in facts.items():
        if said != chose:
            yield f"its {key} is {said!r}, but {chose!r} was chosen"
    try:
        canonical(record.config)  # what a row is told by, beside the choices
        expected = sha256(canonical(choices))[:16]
    except ValueError:
        expected = "none: something in its configuration is not finite"
    if record.id != expected:
        yield f"its id is {record.id}, but that of its choices is {expected}"


def _cells(record: Record) -> Iterator[str]:
    tasks = len(record.tasks)
    if not tasks:
        yield "it has no tasks"
    for cell in record.cells:
        where = f"cell ({cell.stage}, {cell.after}, {cell.task})"
        if not (ZERO <= cell.after < tasks and 0 <= cell.task < tasks):
            yield f"{where} is of no task: there are {tasks}"
        elif cell.n != record.tasks[cell.task].test:
            yield f"{where} is over {cell.n} rows, and the task has {record.tasks[cell.task].test}"
        elif cell.score is not None and not -1 <= cell.score <= 1:
            yield f"{where} has the score {cell.score}"
    counted = Counter((cell.stage, cell.after, cell.task) for cell in record.cells)
    yield from (f"cell {cell} stands there {count} times" for cell, count in counted.items() if count > 1)


def _metrics(record: Record, found: dict[str, Measured]) -> Iterator[str]:
    for name, follows in found.items():
        said = record.metrics.get(name)
        if said is None or said.definition != follows.definition:
            continue
        if not _same(said.value, follows.value) or said.missing != follows.missing:
            ours = f"{said.value} with {said.missing} cells missing"
            yield f"its {name} is {ours}, but {follows.value} with {follows.missing} follows from its cells"


def _same(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=0, abs_tol=TOLERANCE)
