"""A logger for trainings in several threads: it is asked by one of them at a time."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from pytorch_lightning.loggers import Logger


class Locked(Logger):
    """What a trainer asks of a logger, handed on under a lock. Metrics carry their training's name."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger, self._lock = logger, threading.Lock()

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return self.logger.version

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with self._lock:
            self.logger.log_metrics(metrics, step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *given: Any, **named: Any) -> None:
        with self._lock:
            self.logger.log_hyperparams(params, *given, **named)

    def save(self) -> None:
        with self._lock:
            self.logger.save()

    def finalize(self, status: str) -> None:
        with self._lock:
            self.logger.finalize(status)


def locked(loggers: Iterable[Logger]) -> tuple[Logger, ...]:
    """Each with a lock, and open: some can be opened in the main thread only."""
    opened = tuple(loggers)
    for logger in opened:
        getattr(logger, "experiment", None)
    return tuple(Locked(logger) for logger in opened)
