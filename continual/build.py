"""From a Hydra configuration to live parts: the only place that resolves ``_target_``, below an allow-list."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from continual.errors import ContinualError
from continual.learner import Recipe
from continual.parts import Parts
from continual.progress import Progress
from continual.stream.base import Stream
from continual.stream.lint import check
from continual.trainer import Machine

ALLOWED = re.compile(r"continual(\.[a-z_][a-z0-9_]*)+\.[A-Za-z_]+")
SECRET = re.compile(r"token|secret|passw|api_?key|credential", re.IGNORECASE)


def build(config: DictConfig) -> Parts:
    """Everything that a run needs, checked before anything is trained.

    Raises ContinualError for a value that is missing, unknown, of the wrong kind, or that looks like a secret.
    """
    plain = _plain(config)
    _refuse_secrets(plain)
    if plain["threads"]:
        torch.set_num_threads(int(plain["threads"]))
    stream = Stream(_stream_name(plain), tuple(_make("stream", plain)))
    check(stream)
    trainer, optimizer = plain["trainer"], plain["optimizer"]
    recipe_keys = ("epochs", "batch_size", "patience")
    machine = {key: value for key, value in trainer.items() if key not in recipe_keys}
    parts = Parts(
        encoder=_make("encoder", plain),
        stream=stream,
        method=_make("method", plain),
        strategy=_make("strategy", plain),
        compositions=tuple(_make(name, plain["composition"], "composition.") for name in plain["composition"]),
        recipe=_call(Recipe, {**optimizer, **{key: trainer[key] for key in recipe_keys}}, "optimizer and trainer"),
        evaluate=_make("evaluate", plain),
        machine=_call(Machine, machine, "trainer"),
        seed=plain["seed"],
        pooling=plain["pooling"],
        target=plain["target"],
        runs=Path(plain["paths"]["runs"]),
        store=Path(plain["paths"]["store"]),
        progress=Progress(quiet=plain["quiet"]),
        config=plain,
    )
    loggers = _make("logger", plain)(parts.runs / parts.run_id, parts.run_id, parts.choices)
    return replace(parts, machine=replace(parts.machine, loggers=loggers))


def _plain(config: DictConfig) -> dict[str, Any]:
    """Resolved, with plain containers; lists become tuples, since components are frozen."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ContinualError(f"{str(error).splitlines()[0]}: give it on the command line as key=value") from error
    except OmegaConfBaseException as error:
        raise ContinualError(f"the configuration cannot be resolved: {str(error).splitlines()[0]}") from error
    return _tuples(plain)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(child) for key, child in value.items()}
    return tuple(_tuples(child) for child in value) if isinstance(value, list) else value


def _make(name: str, parent: dict[str, Any], prefix: str = "") -> Any:
    """Call what ``_target_`` names with the other values of the node."""
    node = dict(parent[name])
    target = str(node.pop("_target_", ""))
    if not ALLOWED.fullmatch(target):
        raise ContinualError(f"{prefix}{name}._target_ is {target!r}; only components of continual can be named there")
    return _call(instantiate({"_target_": "hydra.utils.get_method", "path": target}), node, prefix + name)


def _call(function: Any, values: dict[str, Any], where: str) -> Any:
    try:
        return function(**values)
    except TypeError as error:
        if "unexpected keyword" not in str(error) and "missing" not in str(error):
            raise
        raise ContinualError(f"{where}: {error}; see continual run --help") from error


def _stream_name(plain: dict[str, Any]) -> str:
    """The stream's file name, which is also its option in conf/stream."""
    return str(plain["stream"].get("_target_", "")).split(".")[-2:][0]


def _refuse_secrets(value: Any, path: str = "") -> None:
    if isinstance(value, dict):
        for key, child in value.items():
            here = f"{path}.{key}".lstrip(".")
            if SECRET.search(str(key)) and child is not None:
                raise ContinualError(
                    f"{here} looks like a secret: give it in the environment, it would be written to disk"
                )
            _refuse_secrets(child, here)
