"""Each task starts from the module of the earlier task whose texts are most like its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor
from torch.nn.functional import cosine_similarity

from continual.adapter import Adapter
from continual.errors import ContinualError
from continual.method import name_of
from continual.method.base import Bundled, Described, Spread
from continual.strategy.base import Stage, Strategy
from continual.stream.base import Task
from continual.stream.sample import draws


@dataclass(frozen=True)
class Warm(Strategy):
    """The start is a copy of the module of task argmax_s cos(μ_s, μ_t); the first task's is a fresh one.

    Text embedding (Vu et al. 2020, "Exploring and predicting transferability across NLP tasks"): μ is the mean of the
    bare encoder's features, here over at most ``sample`` training rows, drawn by f(seed, task). Of equals the oldest is
    taken; a task whose module diverged is passed over. Each task is answered by its own module.
    """

    sample: int = 256

    def __post_init__(self) -> None:
        if self.sample < 1:
            raise ContinualError(f"strategy.sample must be at least 1, got {self.sample}")

    def check(self, method: Described) -> None:
        """Raises ContinualError for a method that is stored as another: it cannot be gone on with."""
        stored = method.settled if isinstance(method, Spread | Bundled) else method
        if kinds(stored) != kinds(method):
            raise ContinualError(
                f"strategy warm goes on with stored modules, and what is learned as {' + '.join(kinds(method))} is "
                f"stored as {' + '.join(kinds(stored))}; choose method={name_of(stored)}"
            )

    def start(self, fresh: Adapter, stage: Stage) -> Adapter:
        known = [(t, a) for t, a in zip(stage.tasks[:-1], stage.past, strict=True) if a is not None]
        if not known:
            return fresh
        own = self.mean(stage.task, stage)
        likeness = [float(cosine_similarity(own, self.mean(task, stage), dim=0)) for task, _ in known]
        _, nearest = known[max(range(len(known)), key=likeness.__getitem__)]
        params = {at: {name: t.clone() for name, t in own.items()} for at, own in nearest.params.items()}
        return replace(nearest, params=params)

    def mean(self, task: Task, stage: Stage) -> Tensor:
        """(d,) of the bare features of the sampled training rows."""
        order = np.argsort(draws(len(task.train), "warm", stage.seed, task.name), kind="stable")
        return stage.bare([task.train[row] for row in sorted(order[: self.sample].tolist())]).double().mean(0)


def kinds(method: Described) -> list[str]:
    """Its name, and of a bundle those of the parts."""
    parts = method.parts.values() if isinstance(method, Bundled) else ()
    return [name_of(method), *map(name_of, parts)]
