"""``continual run``: Hydra composes the configuration, and it is run, once per job of a sweep."""

from __future__ import annotations

import os
import sys
import traceback
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from continual.allocator import importing
from continual.ended import Begun, Ended, close, endings
from continual.errors import ContinualError, one_line
from continual.overrides import mended, refuse_several
from continual.secret import refuse_arguments

if TYPE_CHECKING:
    from omegaconf import DictConfig

MULTIRUN = ("-m", "--multirun")
SWEEP = "CONTINUAL_SWEEP"
"""Names a sweep for its jobs, whatever process a launcher puts them into: its folder, and its group in a logger."""


def main(arguments: Sequence[str]) -> int:
    """Compose the configuration with Hydra and run it, once per job of a sweep; a failed job stops no other."""
    refuse_arguments(arguments)
    refuse_several(arguments)
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    alone: list[Ended] = []

    def job(config: DictConfig) -> float | None:
        """A launcher may carry it into another process, from where only files come back."""
        chosen = HydraConfig.get()
        if chosen.mode == RunMode.MULTIRUN:
            which = tuple(map(str, chosen.overrides.task))
            end = _ended(config, which, chosen.sweeper.get("direction"))
            end.leave(Path(chosen.sweep.dir), chosen.job.num)
        else:
            os.environ.pop(SWEEP, None)
            alone.append(end := _ended(config))
        return end.value

    Begun.folder, stopped = None, ""
    with _called(arguments):
        try:
            hydra.main(config_path="pkg://continual.conf", config_name="run", version_base="1.3")(job)()
        except Exception as error:
            if (said := mended(error, arguments)) is not None:
                raise said from error
            if Begun.folder is None or isinstance(error, BrokenPipeError):
                raise
            stopped = f"the sweep stopped, {type(error).__name__}: {error}"  # its launcher, or a process of it
    if Begun.folder is not None:
        return close(endings(Begun.folder), Begun.folder, stopped)
    return 1 if any(end.why for end in alone) else 0


@contextmanager
def _called(arguments: Sequence[str]) -> Iterator[None]:
    """Arguments and variables as Hydra wants them; the variables are then as they were."""
    # Hydra finds -m before all overrides only.
    sys.argv = ["continual run", *sorted(arguments, key=lambda argument: argument not in MULTIRUN)]
    # Hydra raises what it finds, and leaves it to us how that is said.
    given = {"HYDRA_FULL_ERROR": "1", SWEEP: uuid.uuid4().hex[:12]}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _ended(config: DictConfig, which: tuple[str, ...] | None = None, direction: object = None) -> Ended:
    """Run one configuration: a job of a sweep where its overrides are given. A failure is an end like another."""
    try:
        _check(direction, config.objective)
        return _job(config, which)
    except ContinualError as error:
        print(f"continual run: {one_line(str(error))}", file=sys.stderr)
        return Ended(which or (), "failed", why=str(error))
    except BrokenPipeError:
        raise
    except Exception as error:
        traceback.print_exc()
        return Ended(which or (), "failed", why=f"a bug, please report it: {type(error).__name__}: {error}")


def _check(direction: object, objective: str) -> None:
    """A sweeper that searches looks for the best: Optuna minimizes where it is not told otherwise."""
    from continual.metric.base import metrics  # numpy, which --help need not wait for

    metric = metrics().get(objective)
    if metric is not None and not metric.loss and str(getattr(direction, "name", direction)) == "minimize":
        raise ContinualError(f"the highest {objective} is the best: set hydra.sweeper.direction=maximize")


def _job(config: DictConfig, which: tuple[str, ...] | None) -> Ended:
    with importing():
        from continual.grouped import job_of
        from continual.report.table import show

    job = job_of(config)
    parts = job.parts
    folder = parts.runs / parts.run_id
    record = job.record()
    show(record)
    print(f"\nrecord     {folder / 'run.json'}\ndashboard  {folder / 'dashboard.html'}\nmodules    {parts.store}")
    if which is None:
        print(
            f"next       continual dash {quote(str(parts.runs))}\n           continual store {quote(str(parts.store))}"
        )
    objective = parts.config["objective"]
    value = record.metrics[objective].value if objective in record.metrics else None
    if record.status != "finished":
        return Ended(which or (), "failed", objective, value, f"run {record.id}: {record.status}", str(folder))
    return Ended(which or (), "was finished before" if job.before else "finished", objective, value, run=str(folder))
