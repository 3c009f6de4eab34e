"""Make the missing records of this benchmark: every job of conf/sweep/, each a process of its own.

    python benchmarks/streams/run.py                          all sweeps but digits, on the CPU
    python benchmarks/streams/run.py clinc --gpu --jobs 12 --cards 4 --limit 1500
    python benchmarks/streams/run.py digits --set encoder.name=FOLDER

A record that is there is kept; delete it to make it again. A job that was stopped goes on behind its last task.
``report.py`` turns the records into RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from continual.files import write_json
from continual.report.record import load
from continual.sweep import jobs, known, names

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from compact import compact, experiment, variant  # noqa: E402

LONG = ("joint", "cumulative", "naive", "agem", "routed", "sprompts", "der", "ewc", "hat")
"""Experiments in the order of how long they take, the longest first; the others come after them."""
GRACE = 60
LAST = 12
NEEDS = {"digits": "encoder.name", "search": "Optuna, which chooses its jobs"}
"""Sweeps that need more than their name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", help="default: all that need nothing else")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--cards", type=int, default=1, help="GPUs to deal them over")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which none is started")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of every job; folders absolute"
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="EXPERIMENT")
    parser.add_argument("--records", type=Path, default=HERE / "records")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="runs and stores; may be deleted afterwards")
    options = parser.parse_args()
    wanted = [known(name) for name in options.sweeps] or [name for name in names() if name not in NEEDS]
    waiting = [job for name in wanted for job in missing(name, options)]
    print(f"{len(waiting)} records are missing", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # so that no job outlives this process
    failed = Pool(options).run(waiting)
    sys.exit(f"{failed} jobs failed" if failed else 0)


@dataclass
class Job:
    """One record to be made."""

    sweep: str
    overrides: list[str]
    target: Path
    work: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"{self.sweep}/{self.target.stem}"

    @property
    def log(self) -> Path:
        return self.work / "log.txt"

    def start(self, more: Sequence[str], environment: dict[str, str]) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        paths = ["paths.runs=runs", "paths.store=store"]  # relative: they say nothing of the machine
        command = [sys.executable, "-m", "continual", "run", *self.overrides, *more, "quiet=true", *paths]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.work, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def record(self) -> Path | None:
        """Where the run says that its record is; None where it did not come to its end."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [line.removeprefix("record").strip() for line in lines if line.startswith("record ")]
        return self.work / found[-1] if found else None


def missing(sweep: str, options: argparse.Namespace) -> list[Job]:
    """The jobs of a sweep that have no record."""
    swept, found = {override.partition("=")[0] for override in jobs(sweep)[0]}, []
    for overrides in jobs(sweep, options.set):
        name = experiment(overrides)
        stem = f"{name}-{variant([override for override in overrides if override.partition('=')[0] in swept])}"
        job = Job(sweep, overrides, options.records / sweep / f"{stem}.json", options.work.resolve() / sweep / stem)
        if not job.target.exists() and (not options.only or name in options.only):
            found.append(job)
    return found


class Pool:
    """At most so many processes at once; a free place takes the next job."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.started, self.running = options, time.monotonic(), list[Job]()
        self.more = ["trainer=gpu"] if options.gpu else []
        self.device = _device(options.gpu)
        self.count = self.failed = 0

    def run(self, waiting: list[Job]) -> int:
        """How many jobs failed. Those that were stopped did not fail."""
        waiting = sorted(waiting, key=_length)
        try:
            while (waiting and not self._late(0)) or self.running:
                while waiting and len(self.running) < self.options.jobs and not self._late(0):
                    self._start(waiting.pop(0))
                self._collect()
                if self._late(GRACE):
                    print(f"stopped, to go on with the next call: {[job.name for job in self.running]}", flush=True)
                    return self.failed
                time.sleep(0.2)
        finally:
            self._end()
        if waiting:
            print(f"not started before the limit: {len(waiting)} jobs", flush=True)
        return self.failed

    def _late(self, grace: float) -> bool:
        return time.monotonic() - self.started > self.options.limit + grace

    def _start(self, job: Job) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if data := os.environ.get("CONTINUAL_DATA"):
            environment["CONTINUAL_DATA"] = str(Path(data).resolve())  # a job runs in a folder of its own
        if self.options.gpu:
            environment["CUDA_VISIBLE_DEVICES"] = str(self.count % self.options.cards)
        self.count += 1
        job.start(self.more, environment)
        self.running.append(job)

    def _collect(self) -> None:
        for job in [job for job in self.running if job.process is not None and job.process.poll() is not None]:
            self.running.remove(job)
            self._keep(job)

    def _keep(self, job: Job) -> None:
        """Its record in short. A run in which something diverged has one too, and says so in its status."""
        path = job.record()
        if path is None:
            self.failed += 1
            last = job.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST:]
            print(f"FAILED {job.name}", *last, sep="\n    ", flush=True)
            return
        record = load(path)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_json(job.target, compact(record, job.sweep, job.overrides, self.device))
        shutil.rmtree(job.work / "store")  # full fine-tuning stores the encoder once a task
        minutes = (time.monotonic() - self.started) / 60
        print(f"{minutes:6.1f} min  {job.name}: {record.status}, {record.seconds:.0f} s", flush=True)

    def _end(self) -> None:
        """What still runs is told to stop, by its own process group, and waited for."""
        for job in self.running:
            assert job.process is not None
            if job.process.poll() is None:
                os.killpg(job.process.pid, signal.SIGTERM)
        for job in self.running:
            assert job.process is not None
            job.process.wait()


def _length(job: Job) -> int:
    name = experiment(job.overrides)
    return LONG.index(name) if name in LONG else len(LONG)


def _device(gpu: bool) -> str:
    if not gpu:
        return f"CPU, {platform.machine()}"
    import torch

    return torch.cuda.get_device_name()


if __name__ == "__main__":
    main()
