"""Jobs of a sweep in one process: encoder and data are read once, and what the jobs learn they learn together.

Each job is a run like any other, with the record, the folder and the modules that it would have alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from continual.allocator import keep_memory, return_memory
from continual.build import build
from continual.drive import run_stream, run_together
from continual.errors import ContinualError
from continual.files import canonical
from continual.parts import Parts
from continual.report.record import Record, load
from continual.trainer import device_of


@dataclass(frozen=True)
class Job:
    """What a configuration was turned into, and whether its run was finished before."""

    parts: Parts
    before: bool

    def record(self) -> Record:
        """Of its run, which goes on where it is not finished."""
        parts = self.parts
        made = parts.finished and not self.before
        return load(parts.runs / parts.run_id / "run.json") if made else run_stream(parts)


_prepared: dict[bytes, Job] = {}


def prepare(configs: Sequence[DictConfig]) -> None:
    """Build the jobs and go through their runs together. One that cannot be built, or fails, says so in its turn."""
    made: dict[bytes, Any] = {}
    alike: dict[object, dict[str, Parts]] = {}
    for config in map(_own, configs):
        try:
            parts = build(config, made)
        except ContinualError:
            continue
        _prepared[_key(config)] = Job(parts, before := parts.finished)
        if not before:
            shared = id(parts.encoder), replace(parts.machine, loggers=())
            alike.setdefault(shared, {}).setdefault(parts.run_id, parts)
    _hold([parts for runs in alike.values() for parts in runs.values()])
    for runs in alike.values():
        run_together(list(runs.values()))


def job_of(config: DictConfig) -> Job:
    """What ``prepare`` made of this configuration; else it is built now."""
    if (job := _prepared.pop(_key(config), None)) is not None:
        return job
    parts = build(config)
    _hold([parts])
    return Job(parts, parts.finished)


def _hold(several: Sequence[Parts]) -> None:
    """How this process, which is theirs, holds its memory: who has layers computed again on a CPU, to need less of it,
    wants to need less of the C library's too."""
    machines = [parts.machine for parts in several]
    little = any(machine.gradient_checkpointing and device_of(machine).type == "cpu" for machine in machines)
    (return_memory if little else keep_memory)()


def _own(config: DictConfig) -> DictConfig:
    """Without Hydra's part, as a job is given it."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _key(config: DictConfig) -> bytes:
    return canonical(OmegaConf.to_container(config, resolve=False))
