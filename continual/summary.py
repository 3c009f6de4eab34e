"""The end of a run: metrics from the ledger, proofs from the store, all of it in one record and one page."""

from __future__ import annotations

import platform
import resource
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

from continual import certificate, head
from continual.encoder.frozen import fingerprint
from continual.errors import ContinualError
from continual.evaluate import score_name
from continual.files import write_json
from continual.metric.base import measure
from continual.report import dashboard
from continual.report.record import CellFacts, EncoderFacts, Metric, Record, Routing, TaskFacts, save
from continual.session import Session
from continual.stream.base import Task

PACKAGES = ("continual-adapters", "torch", "transformers", "pytorch-lightning", "hydra-core", "numpy", "safetensors")


def summarize(session: Session, started: float, routing: Routing | None) -> Record:
    """Write ``run.json`` (last: it marks the run as finished) and ``dashboard.html``; return the record."""
    record = _record(session, started, routing)
    dashboard.write(record, session.folder / "dashboard.html")
    save(record, session.folder / "run.json")
    return record


def begin(session: Session) -> None:
    """Write ``begun.json``: what the run is, for whoever watches it. Its scores are in the ledger, row by row."""
    write_json(session.folder / "begun.json", _begun(session).model_dump(mode="json"))


def _begun(session: Session) -> Record:
    """What is known of a run before anything is learned."""
    parts, encoder = session.parts, session.parts.encoder
    return Record(
        id=parts.run_id,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        seconds=0,
        status="begun",
        warnings=session.warnings,
        stream=parts.stream.name,
        stream_digest=parts.stream.digest,
        scenario=parts.stream.scenario,
        strategy=parts.strategy_name,
        method=parts.choices["method"][0],
        seed=parts.seed,
        encoder=EncoderFacts(
            name=encoder.name,
            revision=encoder.revision,
            fingerprint=encoder.fingerprint,
            family=encoder.family,
            layers=encoder.layers,
            width=encoder.width,
            parameters=encoder.parameters,
        ),
        tasks=[_task(task, 0) for task in parts.stream.tasks],
        cells=[],
        metrics={},
        modules=[],
        gains=[],
        weights=[],
        forwarded_rows=0,
        peak_memory_bytes=0,
        encoder_unchanged=True,
        modules_unchanged=True,
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        code=parts.choices["code"],
        config={**parts.config, "choices": parts.choices},
    )


def _record(session: Session, started: float, routing: Routing | None) -> Record:
    """What was known at the start, and all that has come out."""
    encoder, modules = session.parts.encoder, [kept.module for kept in session.journal]
    diverged = any(module.status == "diverged" for module in modules)
    tasks = [_task(task, _truncated(session, task)) for task in session.parts.stream.tasks]
    cut = sum(task.truncated for task in tasks)
    if cut:
        session.warnings.append(f"{cut:,} texts are longer than {encoder.max_length} tokens and were cut there")
    cut_short = [module for module in modules if module.status == "ok" and module.why]
    session.warnings += [
        f"{module.name} diverged, {module.why}: its best earlier state was kept" for module in cut_short
    ]
    intact = _intact(session)
    session.model.load([])
    found = {
        "seconds": round(time.time() - started, 1),
        "status": "finished with failures" if diverged or cut_short or not intact else "finished",
        "tasks": tasks,
        "cells": [CellFacts(**asdict(cell)) for cell in session.ledger.cells],
        "metrics": {name: Metric(**asdict(value)) for name, value in measure(session.ledger).items()},
        "modules": modules,
        "gains": session.gains,
        "weights": session.weights,
        "routing": routing,
        "forwarded_rows": session.evaluator.forwarded,
        "peak_memory_bytes": peak_memory(),
        "encoder_unchanged": fingerprint(session.model.encoder) == encoder.fingerprint,
        "modules_unchanged": intact,
        "certificate": certificate.summary(session),
    }
    return Record(**{**dict(_begun(session)), **found})


def _task(task: Task, truncated: int) -> TaskFacts:
    return TaskFacts(
        name=task.name,
        labels=list(task.labels),
        train=len(task.train),
        valid=len(task.valid),
        test=len(task.test),
        truncated=truncated,
        source=task.source,
        digest=task.digest,
        head=task.head,
        score=score_name(task),
    )


def _truncated(session: Session, task: Task) -> int:
    """Texts of the three splits that were longer than the encoder reads."""
    kind = head.named(task.head)
    return sum(session.reader(rows, kind, task.labels).truncated for rows in task.splits.values())


def _intact(session: Session) -> bool:
    """Every module of this run reads back from the store exactly as it was written: ``get`` verifies each byte."""
    try:
        for kept in session.journal:
            if kept.module.digest:
                session.store.get(kept.module.digest)
    except ContinualError as error:
        session.warnings.append(str(error))
        return False
    return True


def peak_memory() -> int:
    """Bytes: the most that this process has held at once since it started."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
