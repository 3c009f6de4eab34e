"""From a Hydra configuration to live parts: the only place that resolves ``_target_``, to components of its group."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pytorch_lightning.loggers import Logger

from continual.errors import ContinualError, unknown
from continual.files import canonical, require_writable
from continual.logs.base import Log
from continual.logs.none import Nothing
from continual.metric.base import metrics
from continual.parts import Parts
from continual.progress import Progress
from continual.request import Recipe
from continual.secret import refuse
from continual.stream.base import Scenario, Stream
from continual.stream.lint import check
from continual.stream.seeded import seeded
from continual.trainer import Machine
from continual.typed import call, mistyped, tuples, under

HOMES = {
    "encoder": "continual.encoder",
    "stream": "continual.task_streams",
    "method": "continual.method",
    "strategy": "continual.strategy",
    "composition": "continual.composition",
    "router": "continual.router",
    "merging": "continual.merging",
    "prune": "continual.pruning",
    "evaluate": "continual.evaluate",
    "logger": "continual.logs",
}
"""Where the components of a group of conf/ are: a module, or a package with one module a component."""

KINDS = {"scenario": Scenario, "seed": int, "target": str | None, "threads": int | None, "quiet": bool}
KINDS |= {"objective": str, "sources": tuple[str, ...], "references": tuple[str, ...]}
GROUPS = (*HOMES, "optimizer", "trainer", "paths")
SEVERAL = ("composition", "merging")
OPTIONAL = (*SEVERAL, "prune")
"""The keys at the top that are values, and the groups of keys; of some a run may have several, of some none."""

RECIPE = ("epochs", "batch_size", "patience")
"""What trainer/ says of learning; the rest of it says on what machine."""


def build(config: DictConfig, made: dict[bytes, Any] | None = None) -> Parts:
    """Everything that a run needs, checked before anything is trained.

    made  encoders and streams of other runs: one of the same configuration is taken, and new ones are added

    Raises ContinualError for a value that is missing, unknown, of the wrong kind, or that looks like a secret.
    """
    return of(_plain(config), {} if made is None else made)


def of(plain: dict[str, Any], made: dict[bytes, Any] | None = None) -> Parts:
    """The same from plain values, with tuples for lists: what a record has as its configuration."""
    refuse(plain)
    _check_plain(plain)
    if plain["threads"]:
        torch.set_num_threads(plain["threads"])
    trainer = under("trainer", plain["trainer"])
    learning = {path: trainer.pop(path) for path in [f"trainer.{key}" for key in RECIPE] if path in trainer}
    # What is cheap comes first: a typing error need not wait for an encoder.
    recipe = call(Recipe, under("optimizer", plain["optimizer"]) | learning)
    machine = call(Machine, trainer)
    chosen = ("method", "strategy", "evaluate", "router")
    method, strategy, evaluate, router = (_make(group, plain[group]) for group in chosen)
    compositions, mergings = _several("composition", plain), _several("merging", plain)
    prune = _make("prune", plain["prune"]) if plain["prune"] else None
    log = _make("logger", plain["logger"])
    runs, store = (_path(plain["paths"], key) for key in ("runs", "store"))
    known = {} if made is None else made
    stream = _once(known, [plain["stream"], plain["scenario"]], lambda: _stream(plain))
    parts = Parts(
        encoder=_once(known, plain["encoder"], lambda: _make("encoder", plain["encoder"])),
        stream=stream,
        method=method,
        strategy=strategy,
        compositions=compositions,
        router=router,
        mergings=mergings,
        sources=plain["sources"],
        prune=prune,
        references=plain["references"],
        recipe=recipe,
        evaluate=evaluate,
        machine=machine,
        seed=plain["seed"],
        target=plain["target"],
        runs=runs,
        store=store,
        progress=Progress(quiet=plain["quiet"]),
        config=plain,
    )
    return replace(parts, machine=replace(machine, loggers=_loggers(log, parts)))


def _loggers(log: Log, parts: Parts) -> tuple[Logger, ...]:
    """None for a run that is finished: nothing is logged of it any more, so no logger makes its files."""
    if not parts.finished:
        return log.open(parts.runs / parts.run_id, parts.run_id, parts.choices)
    if not isinstance(log, Nothing):
        parts.progress.warn(
            f"run {parts.run_id} was finished before: its logger is given nothing; to log it, make it again with "
            "another paths.runs"
        )
    return ()


def _stream(plain: dict[str, Any]) -> Stream:
    target = str(plain["stream"].get("_target_", ""))
    _component("stream", target, "stream")
    stream = Stream(target.split(".")[-2], seeded(lambda: _make("stream", plain["stream"])), plain["scenario"])
    check(stream)
    return stream


def _once(made: dict[bytes, Any], of: object, make: Callable[[], Any]) -> Any:
    if (key := canonical(of)) not in made:
        made[key] = make()
    return made[key]


def _plain(config: DictConfig) -> dict[str, Any]:
    """Resolved, with plain containers; lists become tuples."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ContinualError(
            f"{error.full_key} is missing: give it on the command line as {error.full_key}=…"
        ) from None
    except OmegaConfBaseException as error:
        raise ContinualError(f"the configuration cannot be resolved: {str(error).splitlines()[0]}") from error
    return tuples(plain)


def _check_plain(plain: dict[str, Any]) -> None:
    """The keys at the top: what Parts takes as it is, the four that only this file reads, and the groups."""
    known = (*KINDS, *GROUPS)
    wrong = [f"unknown key {key}; choose from: {', '.join(known)}" for key in plain if key not in known]
    wrong += [f"{key} is missing: every run has one" for key in known if key not in plain]
    if wrong:
        raise ContinualError("; ".join(wrong))
    wrong = [error for key, kind in KINDS.items() if (error := mistyped(key, plain[key], kind))]
    wrong += [
        f"{path} must be a group of keys, got {node!r:.60}"
        for path, node in _nodes(plain)
        if not isinstance(node, dict)
    ]
    if wrong:
        raise ContinualError("; ".join(wrong))
    if plain["threads"] is not None and plain["threads"] < 1:
        raise ContinualError(f"threads must be at least 1, or null for what torch chooses, got {plain['threads']}")
    if plain["objective"] not in metrics():
        raise unknown("objective", plain["objective"], metrics())


def _nodes(plain: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The groups of keys, by their path, and those within a group that may have several."""
    for group in GROUPS:
        if plain[group] or group not in OPTIONAL:
            yield group, plain[group]
        if group in SEVERAL and isinstance(plain[group], dict):
            yield from ((f"{group}.{name}", node) for name, node in plain[group].items())


def _path(paths: dict[str, Any], key: str) -> Path:
    """A folder that can be written to: found out before anything is read, let alone trained."""
    if not isinstance(paths.get(key), str) or not paths[key]:
        raise ContinualError(f"paths.{key} must be the name of a folder, got {paths.get(key)!r}")
    require_writable(Path(paths[key]))
    return Path(paths[key])


def _make(group: str, node: Mapping[str, Any], path: str = "") -> Any:
    """Call what the node's ``_target_`` names with its other values."""
    path = path or group
    values = {key: value for key, value in node.items() if key != "_target_"}
    return call(_component(group, str(node.get("_target_", "")), path), under(path, values))


def _several(group: str, plain: Mapping[str, Any]) -> tuple[Any, ...]:
    """All of a group of which a run may have none, one or many."""
    chosen = plain[group] or {}
    return tuple(_make(group, node, f"{group}.{name}") for name, node in chosen.items())


def _component(group: str, target: str, path: str) -> Callable[..., Any]:
    """What ``target`` names, if it is a public class or function that is defined in the home of this group.

    Nothing else is imported or looked at: what a module imports (``continual.files.os.remove``) cannot be reached.
    """
    module, _, name = target.rpartition(".")
    home = HOMES[group]
    inside = module == home or bool(re.fullmatch(rf"{re.escape(home)}\.[a-z][a-z0-9_]*", module))
    try:
        found = vars(import_module(module)).get(name) if inside and not name.startswith("_") else None
    except ModuleNotFoundError:
        found = None
    if not (inspect.isclass(found) or inspect.isfunction(found)) or found.__module__ != module:
        raise ContinualError(f"{path}._target_ is {target!r}; expected a component defined in {home}")
    return found
