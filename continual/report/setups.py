"""Runs by what was tried: those of one stream, and of them those that differ in seed and order only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from continual.files import canonical
from continual.report.grid import numbered
from continual.report.record import Record

LEFT_OUT = ("seed", "stream", "target")
"""What of a run's choices is drawn for it, or follows from the order of its tasks; all else is what was tried."""

APART = 3  # choices that a name says at most


Drawn = tuple[int, tuple[str, ...]]
"""What was drawn for a run: its seed, and its tasks in their order."""


@dataclass(frozen=True)
class Setup:
    """Runs that differ in seed and order only, and what tells them from the other setups of their stream."""

    name: str
    runs: tuple[Record, ...]

    def values(self, metric: str) -> dict[Drawn, float]:
        """By seed and order; of runs that are equal in both the last. Runs where the metric is undefined have none."""
        found = {(run.seed, order(run)): run.metrics[metric].value for run in self.runs if metric in run.metrics}
        return {drawn: value for drawn, value in found.items() if value is not None}


def order(run: Record) -> tuple[str, ...]:
    """The run's tasks, by name, as it learned them."""
    return tuple(task.name for task in run.tasks)


def streams(runs: Sequence[Record]) -> dict[str, tuple[Record, ...]]:
    """Runs by stream, by its name: the same tasks with the same rows, in whatever order.

    Where a name stands for several of them, its second and later ones are numbered.
    """
    found: dict[tuple[str, Hashable], list[Record]] = {}
    for run in runs:
        tasks = frozenset((task.name, task.digest) for task in run.tasks)
        found.setdefault((run.stream, (run.scenario, tasks)), []).append(run)
    named = numbered(name for name, _ in found)
    return {name: tuple(own) for name, own in zip(named, found.values(), strict=True)}


def setups(runs: Sequence[Record]) -> list[Setup]:
    """Of one stream. Those that a strategy and a method do not tell apart are named by choices that differ."""
    found: dict[bytes, list[Record]] = {}
    for run in runs:
        found.setdefault(canonical(_choices(run)), []).append(run)
    groups = list(found.values())
    titles = [f"{own[0].strategy} · {own[0].method}" for own in groups]
    leaves = [_leaves(_choices(own[0])) for own in groups]
    differ = {
        title: _differ([own for own, same in zip(leaves, titles, strict=True) if same == title]) for title in {*titles}
    }
    named = []
    for title, own in zip(titles, leaves, strict=True):
        apart = [path for path in own if path in differ[title]][:APART]
        named.append(title + "".join(f", {path.split('.')[-1]}={own[path][:12]}" for path in apart))
    return [Setup(name, tuple(own)) for name, own in zip(named, groups, strict=True)]


def _choices(run: Record) -> dict[str, Any]:
    """What was tried. A record that was written by hand may lack its choices."""
    chosen = run.config.get("choices")
    kept = {name: value for name, value in chosen.items() if name not in LEFT_OUT} if isinstance(chosen, dict) else {}
    return {"strategy": run.strategy, "method": run.method, "encoder": run.encoder.fingerprint} | {"choices": kept}


def _differ(alike: Sequence[Mapping[str, str]]) -> set[str]:
    """The paths whose values are not the same in all; one that some do not have is such a path."""
    paths = {path for own in alike for path in own}
    return {path for path in paths if len({own.get(path) for own in alike}) > 1}


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    """Plain values by their dotted path, as text."""
    if isinstance(value, dict):
        items = [(str(name), inner) for name, inner in value.items()]
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        items = [("", inner) for inner in value]
    else:
        return {path.rstrip("."): str(value)}
    return {leaf: text for name, inner in items for leaf, text in _leaves(inner, f"{path}{name}.").items()}
