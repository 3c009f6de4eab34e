"""What Hydra found wrong with the overrides of a command line, in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.resources import files as files_of
from pathlib import Path
from typing import Any

from continual.errors import ContinualError, unknown
from continual.sweep import expanded

EXTRAS = {
    "hydra/launcher": {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit"},
    "hydra/sweeper": {"optuna": "optuna"},
}
"""Options of Hydra that are plugins, and the extra that installs each."""

SINGLE = ("encoder", "stream", "method", "strategy", "router", "prune", "evaluate", "logger")
"""Groups of which a run has one component. Hydra takes a list for any group, and mixes the keys of its options."""

SEVERAL = {"method": "several as one module are method=bundle", "strategy": "several at once are strategy=chain"}
"""What to choose instead of a list."""

ALIKE = 0.84
"""How much of two keys must be the same (``difflib``) for one to be meant by the other."""


def refuse_several(arguments: Sequence[str]) -> None:
    """Raises ContinualError for a list of options, method=[lora,ia3], of a group that takes one; in a sweep too.

    A list in glob(…) is of patterns: each job has one of the options that they match.
    """
    for argument in arguments:
        group, _, value = argument.partition("=")
        lists = re.finditer(r"\[([^\]]*)\]", value) if group in SINGLE and not value.startswith("glob(") else ()
        found = next((each for each in lists if not re.fullmatch(r"\s*\w+\s*", each.group(1))), None)
        if found is None:
            continue
        hints = [f"for a run of each give -m {group}={names}"] if (names := found.group(1).replace(" ", "")) else []
        hints += [SEVERAL[group]] if group in SEVERAL else []
        choices = f"choose one of: {', '.join(sorted(_options(group)))}"
        raise ContinualError("; ".join([f"{group} takes one option, got {group}={found.group()}", choices, *hints]))


def mended(error: Exception, arguments: Sequence[str] = ()) -> ContinualError | None:
    """For a person; None for an error that is not one of composing a configuration.

    arguments  all that was typed, so that a key that is not there can be found under its right name
    """
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        return ContinualError(
            "a group takes the name of an option, as in method=lora, not null, a number or nothing; "
            "continual run --help shows the groups"
        )
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    if isinstance(error, MissingConfigException) and (found := _option(str(error.missing_cfg_file))):
        return found
    first = str(error).splitlines()[0].rstrip(".")
    if first.startswith("Ambiguous value"):
        return ContinualError(f"{first}: for a run of each give -m; for a list key=[a,b]; for a text 'key=\"a,b\"'")
    if missing := re.match(r"Could not override '([^']*)'", first):
        first += ": there is no such key" + _meant(missing.group(1), arguments)
    elif first.startswith("Error parsing override"):
        first += ": expected key=value"
    return ContinualError(f"{first}; continual run --help shows the groups, continual run --cfg job all keys")


def _option(missing: str) -> ContinualError | None:
    """Of a group, "method/lorra", with those that it has."""
    group, _, option = missing.rpartition("/")
    if extra := EXTRAS.get(group, {}).get(option):
        return ContinualError(f'{group}={option} needs a plugin of Hydra: pip install "continual-adapters[{extra}]"')
    options = _options(group) if group else []
    return unknown(group, option, options) if options else None


def _options(group: str) -> list[str]:
    """Empty where there is no such group."""
    files = files_of("continual.conf").joinpath(group)
    return [Path(file.name).stem for file in files.iterdir()] if files.is_dir() else []


def _meant(key: str, arguments: Sequence[str]) -> str:
    """The keys of that name in other groups, else those that are written almost so, among what the others compose."""
    others = [each for each in arguments if "=" in each and each[0] != "-" and each.partition("=")[0] != key]
    known = _lacking(key, others)
    last = key.rpartition(".")[2]
    found = [one for one in known if one.rpartition(".")[2] == last] or get_close_matches(key, known, cutoff=ALIKE)
    return f" (is it {', '.join(found)}?)" if found else ""


def _lacking(key: str, overrides: Sequence[str]) -> list[str]:
    """All keys of the first job that has not this one; a single run is one job. Empty where it can't be composed."""
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_module("continual.conf", version_base="1.3"):
            jobs = (list(_keys(OmegaConf.to_container(compose("run", job)))) for job in expanded(overrides))
            return next((known for known in jobs if key not in known), [])
    except (HydraException, OmegaConfBaseException, ValueError):  # another of them is wrong too
        return []


def _keys(node: Any, path: str = "") -> Iterator[str]:
    """Groups and values by their dotted paths."""
    for key, value in node.items() if isinstance(node, dict) else ():
        if key != "_target_":
            yield f"{path}{key}"
            yield from _keys(value, f"{path}{key}.")
