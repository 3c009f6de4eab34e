"""Answers a run's requests, one at a time."""

from __future__ import annotations

from continual import logs
from continual.encoder.adapted import AdaptedEncoder
from continual.parts import Parts
from continual.report.record import Record
from continual.run import run
from continual.trainer import device_of, learn


def run_stream(parts: Parts) -> Record:
    """Go through the whole run on one adapted encoder, and return its record."""
    model = AdaptedEncoder(parts.encoder).to(device_of(parts.machine))
    work = run(parts, model)
    try:
        requests = next(work)
        while True:
            requests = work.send(learn(model, requests, parts.machine, parts.progress))
    except StopIteration as done:
        return done.value
    finally:
        work.close()
        model.release()
        logs.close(parts.machine.loggers)
