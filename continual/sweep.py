"""Sweeps of ``conf/sweep/``: which there are, which jobs each stands for, how each job ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files as files_of
from typing import Literal

from continual.errors import unknown


@dataclass(frozen=True)
class Ended:
    """A job of a sweep.

    overrides  what it was, as ``continual run`` takes it
    how        "was finished before": its record was there, nothing was done
    objective  name of the metric that it is judged by
    value      of that metric; None where it is undefined, or the job failed
    why        it failed; else empty
    """

    overrides: tuple[str, ...]
    how: Literal["finished", "was finished before", "failed"]
    objective: str = ""
    value: float | None = None
    why: str = ""

    def line(self) -> str:
        """
        >>> Ended(("sweep=clinc", "experiment=ewc", "seed=0"), "finished", "average_accuracy", 0.5).line()
        'experiment=ewc seed=0: average_accuracy 0.5000, finished'
        """
        which = " ".join(override for override in self.overrides if not override.startswith("sweep="))
        value = "" if self.value is None else f"{self.objective} {self.value:.4f}, "
        return f"{which}: {value}{self.how}" + (f": {' '.join(self.why.split())}" if self.why else "")


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
