"""What a logger of a run is: something that opens Lightning loggers, some of which also take what the run ended with.

Which of them do is told by the names of methods. These are names that no other logger has: many have a ``close``.

Every request of a run has a trainer of its own, whose steps begin at 0. Its metrics carry its name
("learn/toxicity/loss"), so that no step of one is taken for one of another.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pytorch_lightning.loggers import Logger

from continual.errors import ContinualError
from continual.report.grid import rows
from continual.report.record import Module, Record
from continual.store import Store


class Log(Protocol):
    """A component of ``conf/logger``; its fields are its options."""

    def open(self, folder: Path, run_id: str, choices: dict[str, Any]) -> tuple[Logger, ...]:
        """The loggers of a run, by its folder, id and plain choices. Nothing is written before a first metric is.

        Raises ContinualError where a package is not installed, naming the extra that has it.
        """
        ...


@runtime_checkable
class Keeps(Protocol):
    """A logger that keeps more of a run than numbers over steps."""

    def keep_run(self, record: Record, store: Store) -> None:
        """The matrix of scores as a table, and the stored modules."""
        ...


@runtime_checkable
class Closes(Protocol):
    """A logger of a service that shows how a run ended, and would take in the next one of the same process."""

    def close_run(self, failed: bool) -> None: ...


def conclude(loggers: Iterable[Logger], record: Record, store: Store) -> None:
    """The run is over: its metrics, once, and what a logger keeps beside them."""
    known = {f"metric/{name}": metric.value for name, metric in record.metrics.items() if metric.value is not None}
    for logger in loggers:
        logger.log_metrics(known)
        if isinstance(logger, Keeps):
            logger.keep_run(record, store)
        logger.finalize("success")


def close(loggers: Iterable[Logger], record: Record | None) -> None:
    """However the run ended: a run without a record, or whose record says so, has failed."""
    for logger in loggers:
        if isinstance(logger, Closes):
            logger.close_run(failed=record is None or record.status != "finished")


def matrix(record: Record) -> tuple[list[str], list[list[Any]]]:
    """Columns and lines of the accuracy matrix: first which task was learned last, then a score for every task."""
    names = [task.name for task in record.tasks]
    after = {row.after: "before any" if row.after < 0 else names[row.after] for row in rows(record)}
    lines = [[after[row.after], *(None if cell is None else cell.score for cell in row.cells)] for row in rows(record)]
    return ["after", *names], lines


def stored(record: Record) -> list[Module]:
    """The modules of a run that are in the store, each once; parents come before what is composed of them."""
    return list({module.digest: module for module in record.modules if module.digest}.values())


def absent(name: str, package: str) -> ContinualError:
    """
    >>> print(absent("mlflow", "MLflow"))
    logger=mlflow needs MLflow: pip install "continual-adapters[mlflow]"
    """
    return ContinualError(f'logger={name} needs {package}: pip install "continual-adapters[{name}]"')
