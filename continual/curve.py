"""The losses of trainings that go on, in their run's folder, for whoever watches. No result depends on them."""

from __future__ import annotations

import json
import math
from pathlib import Path

POINTS = 200  # of a training; each is a mean over the steps since the one before
TAIL = 2**20  # bytes that are looked at: the trainings that go on stand at the end

Losses = dict[str, list[tuple[int, float]]]
"""(step, loss) by the name of the training."""


class Curve:
    """Appends the losses of one training of ``steps`` steps, when the host has them anyway (``learner.py:watch``)."""

    def __init__(self, path: Path, name: str, steps: int) -> None:
        self.path, self.name, self.steps = path, name, steps
        self._every = math.ceil(steps / POINTS)
        self._since: list[float] = []

    def add(self, step: int, loss: float) -> None:
        """The loss of a step, the first being 1. Not synced to the disk: nothing is lost with a point."""
        self._since.append(loss)
        if step % self._every and step != self.steps:
            return
        mean, self._since = sum(self._since) / len(self._since), []
        if math.isfinite(mean):
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"name": self.name, "step": step, "loss": round(mean, 6)}) + "\n")


def going_on(path: Path) -> Losses:
    """The training of the last line, and those that were learned together with it: a line of theirs is after its first.

    A training that was begun again has only its new points. Lines that are no points, a torn last one for instance,
    are left out; a file that is not there has none.
    """
    found: Losses = {}
    first, last, name = dict[str, int](), dict[str, int](), ""
    for number, (name, step, loss) in enumerate(_points(path)):
        if name not in found or found[name][-1][0] >= step:
            found[name], first[name] = [], number
        found[name].append((step, loss))
        last[name] = number
    return {other: points for other, points in found.items() if last[other] >= first[name]}


def _points(path: Path) -> list[tuple[str, int, float]]:
    if not path.is_file():
        return []
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return [point for line in lines if (point := _point(line)) is not None]


def _point(line: str) -> tuple[str, int, float] | None:
    try:
        entry = json.loads(line)
        name, step, loss = entry["name"], entry["step"], entry["loss"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    good = isinstance(name, str) and type(step) is int and type(loss) is float and math.isfinite(loss)
    return (name, step, loss) if good else None
