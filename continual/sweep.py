"""Sweeps of ``conf/sweep/``: which there are, and which jobs each stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files as files_of

from continual.errors import unknown


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

    chosen = f"sweep={known(name)}"
    with initialize_config_module("continual.conf", version_base="1.3"):
        params = compose("run", [chosen], return_hydra_config=True).hydra.sweeper.params or {}
    return expanded([*(f"{key}={value}" for key, value in params.items()), chosen, *more])


def expanded(overrides: Sequence[str]) -> list[list[str]]:
    """Of each job of ``continual run -m overrides``; where none of them is of several values, of one job."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    [batch] = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(list(overrides)), None)
    return batch


def _says(lines: Iterable[str]) -> str:
    return next((line[2:] for line in lines if line.startswith("# ") and not line.startswith("# @")), "")
