"""Answers a run's requests, one at a time."""

from __future__ import annotations

from pathlib import Path

from continual import logs, references
from continual.encoder.adapted import AdaptedEncoder
from continual.parts import Parts
from continual.report.record import Record
from continual.run import run
from continual.trainer import learn, placed


def run_stream(parts: Parts) -> Record:
    """Go through a run on one adapted encoder, and return its record. If it is due, its references come first."""
    if not (Path(parts.runs) / parts.run_id / "run.json").exists():
        for reference in references.derived(parts).values():
            run_stream(reference)
    model = placed(AdaptedEncoder(parts.encoder), parts.machine)
    work = run(parts, model)
    answers, trunk = None, parts.machine.trunk()
    try:
        while True:
            try:
                requests = work.send(answers)  # type: ignore[arg-type]  # the first asks for the first requests
            except StopIteration as done:
                return done.value
            answers = learn(model, requests, parts.machine, parts.progress, trunk)
    finally:
        work.close()
        model.release()
        logs.close(parts.machine.loggers)
