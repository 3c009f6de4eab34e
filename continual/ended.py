"""How the jobs of a sweep ended. A job may be in another process, or on another machine: it leaves a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar, Literal

from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from continual.errors import one_line
from continual.files import write_json


@dataclass(frozen=True)
class Ended:
    """A job of a sweep.

    overrides  what it was, as ``continual run`` takes it
    how        "was finished before": its record was there, nothing was done
    objective  name of the metric that it is judged by
    value      of that metric; None where it is undefined, or the job failed
    why        it failed; else empty
    run        folder of its run, "runs/<run_id>"; empty where none was made
    """

    overrides: tuple[str, ...]
    how: Literal["finished", "was finished before", "failed"]
    objective: str = ""
    value: float | None = None
    why: str = ""
    run: str = ""

    def line(self, alike: Container[str] = ()) -> str:
        """One job in a line, without the overrides that all jobs have alike.

        >>> Ended(("sweep=clinc", "seed=0"), "finished", "average_accuracy", 0.5).line(["sweep=clinc"])
        'seed=0: average_accuracy 0.5000, finished'
        """
        which = " ".join(override for override in self.overrides if override not in alike)
        value = "" if self.value is None else f"{self.objective} {self.value:.4f}, "
        return f"{which}: {value}{self.how}" + (f": {' '.join(self.why.split())}" if self.why else "")

    def leave(self, folder: Path, number: int) -> None:
        """A file in the sweep's folder, for the process that waits for all jobs: it may be on another machine."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{number}.job.json", asdict(self))


class Begun(Callback):
    """Hydra tells it where the sweep that begins has its folder (``hydra.callbacks``); None: none has begun.

    What another sweep has left there, in a folder that was given, is removed: its jobs are none of this one.
    """

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        Begun.folder = Path(config.hydra.sweep.dir)
        for file in Begun.folder.glob("*.job.json"):
            file.unlink(missing_ok=True)


def endings(folder: Path) -> list[Ended]:
    """What the jobs of a sweep have left there, by number."""
    files = sorted(folder.glob("*.job.json"), key=lambda file: int(file.name.partition(".")[0]))
    found = [json.loads(file.read_bytes()) for file in files]
    return [Ended(**{**each, "overrides": tuple(each["overrides"])}) for each in found]


def close(ended: Sequence[Ended], folder: Path, stopped: str = "") -> int:
    """Say how all jobs of a sweep ended, the failed ones once more, and what to type next; 1 where any failed."""
    alike = set.intersection(*(set(end.overrides) for end in ended)) if len(ended) > 1 else set[str]()
    print("\n".join(["", *(end.line(alike) for end in ended), *_best(folder)]))
    failures = [end.why for end in ended if end.why]
    if len(failures) > 1:
        print(f"{len(failures)} jobs failed:", *map(one_line, failures), sep="\n  ", file=sys.stderr)
    if stopped:
        print(f"{one_line(stopped)}\nthe same command goes on with what is not finished", file=sys.stderr)
    runs = list(dict.fromkeys(end.run for end in ended if end.run))
    if runs:
        above = dict.fromkeys(str(Path(run).parent) for run in runs)
        print(f"\nnext       continual dash {' '.join(map(quote, above))}")
    if len(runs) > 1:
        print(f"           continual compare {quote(runs[0])} {quote(runs[1])}")
    return 1 if failures or stopped else 0


def _best(folder: Path) -> list[str]:
    """What a sweeper that searches (Optuna) has found to be best, as it leaves it."""
    file = folder / "optimization_results.yaml"
    if not file.exists():
        return []
    found = OmegaConf.to_container(OmegaConf.load(file))
    if not isinstance(found, dict) or "best_params" not in found:
        return []
    params = " ".join(f"{key}={value}" for key, value in found["best_params"].items())
    return [f"best: {params}: {found['best_value']:.4f}"]
