"""New rules: an experiment composed once for every order, and what all rows must share read off it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from continual import build
from continual.board.rules import Order, Rules, named
from continual.errors import ContinualError, unknown
from continual.metric.base import metrics
from continual.overrides import mended
from continual.parts import Parts
from continual.report.grid import title
from continual.secret import refuse_arguments

BOUND = ("encoder", "stream", "scenario")
"""Groups that are compared by what they are, not by how they were asked for."""
FREE = ("seed", "logger", "paths", "threads", "quiet", "objective", "hydra", "sweep", "experiment", "sources")
"""What no result depends on, what rules have in another place, and what stands for several keys."""


def freeze(
    name: str,
    metric: str,
    seeds: Sequence[int],
    experiment: Sequence[str] = (),
    orders: str | None = None,
    asks: str | None = None,
    code: bool = False,
) -> Rules:
    """Read the stream in every order, and the encoder, as they are now.

    experiment  overrides of ``continual run`` that all rows share
    orders      one key with a value for each order, as a sweep has it: "stream.order=order-1,order-2"; None: one order
    code        admit only runs of this very state of the package's source

    Raises ContinualError for what is unknown, cannot be read, or cannot be frozen.
    """
    _check(name, metric, seeds)
    refuse_arguments(experiment)
    keys, overrides = _keys(experiment), _orders(orders)
    with _composed([[*experiment, *([override] if override else [])] for override in overrides]) as built:
        found = [_order(*each) for each in zip(_names(overrides), overrides, built, strict=True)]
        first = built[0]
        choices, config = (json.loads(json.dumps(plain)) for plain in (first.choices, first.config))
    if len({order.digest for order in found}) < len(found):
        raise ContinualError(f"orders: expected another stream of each, got the same tasks and rows twice ({orders})")
    return Rules(
        name=name,
        asks=asks or f"Which row has the best {title(metric).lower()} on {first.stream.name}?",
        metric=metrics()[metric].definition,
        experiment=list(experiment),
        frozen={key: _at(config, key) for key in keys},
        stream=first.stream.name,
        scenario=first.stream.scenario,
        encoder={key: choices[key] for key in ("encoder", "reading", "max_length", "pooling")},
        code=choices["code"] if code else None,
        seeds=list(seeds),
        orders=found,
    )


def _check(name: str, metric: str, seeds: Sequence[int]) -> None:
    """What can be said before anything is read."""
    try:
        named(name)
    except ValueError as error:
        raise ContinualError(f"board {error}") from None
    if metric not in metrics():
        raise unknown("metric", metric, metrics())
    if not seeds or len(set(seeds)) < len(seeds):
        raise ContinualError(f"seeds: expected at least one, each once, got {list(seeds)}")


def _order(name: str, override: str | None, parts: Parts) -> Order:
    tasks = [task.name for task in parts.stream.tasks]
    return Order(name=name, override=override, tasks=tasks, digest=parts.stream.digest)


def _orders(orders: str | None) -> list[str | None]:
    """The override of each; [None] where there is one order only, as the experiment has it."""
    if orders is None:
        return [None]
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # what expands them in ``continual run -m``

    if not orders.startswith("stream."):
        raise ContinualError(f"orders: expected one key of the stream with values, stream.order=a,b, got {orders!r}")
    with _said():
        [batch] = BasicSweeper.split_arguments(_parsed([orders]), None)
    return [override for [override] in batch]


def _names(overrides: Sequence[str | None]) -> list[str]:
    """The value, where every one is a name; else their numbers."""
    if overrides == [None]:
        return ["listed"]
    values = [(override or "").partition("=")[2] for override in overrides]
    try:
        return [named(value) for value in values]
    except ValueError:
        return [str(number) for number in range(1, len(values) + 1)]


def _keys(experiment: Sequence[str]) -> list[str]:
    """Of the overrides, those that are compared by value."""
    with _said():
        parsed = _parsed(experiment)
    found = []
    for override in parsed:
        key, whole = override.key_or_group, override.get_key_element()
        if whole != key or key.partition(".")[0] in FREE or override.is_sweep_override():
            raise ContinualError(
                f"cannot freeze {override.input_line}: expected group=option or key=value of what a result depends on; "
                f"not of: {', '.join(FREE)}"
            )
        if key.partition(".")[0] not in BOUND:
            found.append(key)
    return found


@contextmanager
def _composed(jobs: Sequence[Sequence[str]]) -> Iterator[list[Parts]]:
    """The parts of each job, with runs and store in a folder that is gone at the end."""
    from hydra import compose, initialize_config_module

    with TemporaryDirectory(prefix="continual-board-") as folder:
        paths = [f"paths.runs={Path(folder, 'runs')}", f"paths.store={Path(folder, 'store')}"]
        made: dict[bytes, Any] = {}
        with _said(), initialize_config_module("continual.conf", version_base="1.3"):
            configs = [compose("run", [*job, *paths]) for job in jobs]
        yield [build.build(config, made) for config in configs]


def _parsed(overrides: Sequence[str]) -> list[Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_overrides(list(overrides))


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if (said := mended(error)) is None:
            raise
        raise said from None


def _at(config: Any, path: str) -> Any:
    for key in path.split("."):
        config = config[key]
    return config
