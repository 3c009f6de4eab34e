"""Sweeps of ``conf/sweep/``: which there are, which jobs each stands for, how each job ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files as files_of
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar, Literal

from hydra.experimental.callback import Callback

from continual.errors import ContinualError, one_line, unknown
from continual.files import write_json
from continual.metric.base import metrics


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

        >>> Ended(("sweep=clinc", "experiment=ewc", "seed=0"), "finished", "average_accuracy", 0.5).line(["sweep=clinc"])
        'experiment=ewc seed=0: average_accuracy 0.5000, finished'
        """
        which = " ".join(override for override in self.overrides if override not in alike)
        value = "" if self.value is None else f"{self.objective} {self.value:.4f}, "
        return f"{which}: {value}{self.how}" + (f": {' '.join(self.why.split())}" if self.why else "")

    def leave(self, folder: Path, number: int) -> None:
        """In the sweep's folder, for the process that waits for all jobs: this one may be another, on another machine."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{number}.job.json", asdict(self))


class Begun(Callback):
    """Hydra tells it where the sweep that begins has its folder (``hydra.callbacks``); None: none has begun."""

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        Begun.folder = Path(config.hydra.sweep.dir)


def check(direction: Any, objective: str) -> None:
    """Raises ContinualError where a sweeper would look for the worst: Optuna minimizes where it is not told otherwise."""
    metric = metrics().get(objective)
    if metric is not None and not metric.loss and str(getattr(direction, "name", direction)) == "minimize":
        raise ContinualError(f"the highest {objective} is the best: set hydra.sweeper.direction=maximize")


def endings(folder: Path) -> list[Ended]:
    """What the jobs of a sweep have left there, by number."""
    files = sorted(folder.glob("*.job.json"), key=lambda file: int(file.name.partition(".")[0]))
    found = [json.loads(file.read_bytes()) for file in files]
    return [Ended(**{**each, "overrides": tuple(each["overrides"])}) for each in found]


def close(ended: Sequence[Ended], folder: Path, stopped: str = "") -> int:
    """Say how all jobs of a sweep ended, the failed ones once more, and what to type next; 1 where any failed."""
    alike = set[str]() if len(ended) == 1 else set.intersection(*(set(end.overrides) for end in ended))
    print("\n".join(["", *(end.line(alike) for end in ended), *_best(folder)]))
    failures = [end.why for end in ended if end.why]
    if len(failures) > 1:
        print(f"{len(failures)} jobs failed:", *map(one_line, failures), sep="\n  ", file=sys.stderr)
    if stopped:
        print(one_line(stopped), file=sys.stderr)
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
    from omegaconf import OmegaConf

    found = OmegaConf.load(file)
    params = " ".join(f"{key}={value}" for key, value in found.get("best_params", {}).items())
    return [f"best: {params}: {found.best_value:.4f}"] if params else []


def names() -> dict[str, str]:
    """{sweep: what it says of itself, its first line of comment}."""
    files = files_of("continual.conf").joinpath("sweep").iterdir()
    texts = {file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8") for file in files}
    return {name: _says(texts[name].splitlines()) for name in sorted(texts)}


def listing() -> str:
    """All sweeps, a line each."""
    found = names()
    width = max(map(len, found))
    lines = [f"  {name:{width}}  {says}" for name, says in found.items()]
    return "\n".join(["continual sweep NAME [key=value] …   with NAME one of:", "", *lines])


def known(name: str) -> str:
    """The name. Raises ContinualError where there is no such sweep."""
    if name not in names():
        raise unknown("sweep", name, names())
    return name


def jobs(name: str, more: Sequence[str] = ()) -> list[list[str]]:
    """The overrides of each job, as Hydra expands the sweep's own parameters and those that are given beside it.

    Raises ContinualError for a name that is not there.
    """
    from hydra import compose, initialize_config_module
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # what expands them in ``continual run -m``
    from hydra.core.override_parser.overrides_parser import OverridesParser

    chosen = f"sweep={known(name)}"
    with initialize_config_module("continual.conf", version_base="1.3"):
        params = compose("run", [chosen], return_hydra_config=True).hydra.sweeper.params or {}
    given = [*(f"{key}={value}" for key, value in params.items()), chosen, *more]
    [batch] = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(given), None)
    return batch


def _says(lines: Iterable[str]) -> str:
    return next((line[2:] for line in lines if line.startswith("# ") and not line.startswith("# @")), "")
