"""A run's record as this benchmark keeps it: the scores and the costs, without texts of how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from continual.ledger import REFERENCES
from continual.report.record import Module, Record

Matrix = list[list[float | None]]


def compact(record: Record, sweep: str, overrides: Sequence[str], device: str) -> dict[str, Any]:
    """Plain values for JSON. ``overrides`` are those of the job; of a folder among them only its own name is kept."""
    modules = of_tasks(record)
    return {
        "schema": 1,
        "sweep": sweep,
        "experiment": experiment(overrides),
        "overrides": [_said(override) for override in overrides],
        "run": record.id,
        "code": record.code,
        "device": device,
        "precision": record.config["trainer"]["precision"],
        "versions": record.versions,
        "status": record.status,
        "warnings": record.warnings,
        "encoder": {"fingerprint": record.encoder.fingerprint, "parameters": record.encoder.parameters},
        "stream": record.stream,
        "stream_digest": record.stream_digest,
        "scenario": record.scenario,
        "strategy": record.strategy,
        "method": record.method,
        "seed": record.seed,
        "epochs": record.config["trainer"]["epochs"],
        "tasks": [task.name for task in record.tasks],
        "train": [task.train for task in record.tasks],
        "test": [task.test for task in record.tasks],
        "learn": matrix(record, "learn"),
        "oracle": matrix(record, "oracle"),
        "metrics": {name: metric.value for name, metric in record.metrics.items()},
        "routing": None if record.routing is None else record.routing.model_dump(mode="json"),
        "trainable": [module.trainable for module in modules],
        "bytes": [module.bytes for module in modules],
        "training_seconds": round(sum(module.seconds for module in modules), 3),
        "seconds": record.seconds,
        "forwarded_rows": record.forwarded_rows,
        "peak_memory_bytes": record.peak_memory_bytes,
        "reused": sum(cell.reused for cell in record.cells if cell.stage not in REFERENCES),
        "unchanged": record.encoder_unchanged and record.modules_unchanged,
    }


def experiment(overrides: Sequence[str]) -> str:
    return values(overrides)["experiment"]


def variant(overrides: Sequence[str]) -> str:
    """What else the sweep varies: an order or a seed."""
    return "-".join(value for key, value in values(overrides).items() if key not in ("experiment", "sweep"))


def values(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (override.partition("=") for override in overrides)
    return {key: value for key, _, value in pairs}


def matrix(record: Record, stage: str) -> Matrix | None:
    """Rows: after task i; columns: on task j; None where it has no score. None where the run has no such cells."""
    cells = [cell for cell in record.cells if cell.stage == stage and cell.after >= 0]
    if not cells:
        return None
    table: Matrix = [[None] * len(record.tasks) for _ in record.tasks]
    for cell in cells:
        seen = cell.how == "own"  # of tasks to come the ledger has nearest class means
        table[cell.after][cell.task] = round(cell.score, 6) if seen and cell.score is not None else None
    return table


def of_tasks(record: Record) -> list[Module]:
    """The module of each task, as the run stored it; a sweep's runs compose nothing."""
    return [module for module in record.modules if module.kind == "adapter"]


def _said(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key}={value.rstrip('/').rpartition('/')[2]}"
