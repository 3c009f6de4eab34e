"""Task inference: a router, what it knows of the tasks that it has seen, and how sure it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from continual import folder, router
from continual.adapter import tensors_digest
from continual.errors import ContinualError, CorruptError
from continual.files import write_atomic, write_json
from continual.router.base import Evidence, Query, Router, Stats

SCHEMA = 1
FILES = ("router.safetensors", "router.json")
STEPS = torch.logspace(-2, 2, 161, dtype=torch.float64)
"""The temperatures that are tried."""


@dataclass(frozen=True)
class TaskInference:
    """A router and what it knows of the tasks that it has seen, each by itself. Nothing here depends on their order.

    temperature  P(t|x) = softmax(S(x) / temperature)
    width        of the features that it has seen
    """

    router: Router
    known: dict[str, Stats] = field(default_factory=dict, repr=False)
    temperature: float = 1.0
    width: int | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order in which they came, which is that of the columns of all scores."""
        return tuple(self.known)

    def learn(self, task: str, evidence: Evidence) -> TaskInference:
        """With one more task. Raises ContinualError for a task that is known, and for features of another encoder."""
        if task in self.known:
            raise ContinualError(f"the router knows task {task!r} already: it is shown each task once")
        width = evidence.features.shape[1]
        self._require_width(width)
        return replace(self, known={**self.known, task: self.router.learn(evidence)}, width=width)

    def scores(self, query: Query) -> Tensor:
        """(n, T) float64, columns as ``tasks``. Higher is likelier; the largest is how much a row is of any task.

        Raises ContinualError before a task is known, and for features of another encoder.
        """
        if not self.known:
            raise ContinualError("the router knows no task yet: show it one first")
        self._require_width(query.features.shape[1])
        ordered = sorted(self.known)  # in every order of arrival the sums are the same, bit for bit
        found = self.router.scores({task: self.known[task] for task in ordered}, _sorted(query, self.tasks, ordered))
        return found[:, [ordered.index(task) for task in self.tasks]]

    def probabilities(self, query: Query) -> Tensor:
        """(n, T) P(t|x)."""
        return (self.scores(query) / self.temperature).softmax(1)

    def calibrated(self, task: str, query: Query) -> TaskInference:
        """With the temperature that makes held-out rows of ``task``, the one just learned, likeliest to be of it.

        Of −log P(task|x) the mean over the rows is least, with Platt's (1999) smoothed target (n + 1)/(n + 2) and the
        rest on the likeliest other task, so that rows that are all routed right do not drive it to 0. With one task
        there is nothing to fit; rows that cannot be routed to the task, whatever the temperature, tell nothing of it.
        """
        scores, own = self.scores(query), self.tasks.index(task)
        rival = scores[:, [t for t in range(len(self.tasks)) if t != own]]
        live = scores[:, own].isfinite() & rival.isfinite().any(1) if len(self.tasks) > 1 else torch.zeros(0)
        if not bool(live.any()):
            return self
        scores, best = scores[live], rival[live].max(1).values
        sure = (len(scores) + 1) / (len(scores) + 2)
        aim = sure * scores[:, own] + (1 - sure) * best
        losses = torch.stack([((scores / t).logsumexp(1) - aim / t).mean() for t in STEPS])
        return replace(self, temperature=float(STEPS[losses.argmin()]))

    def save(self, place: Path) -> None:
        """``router.safetensors`` and, written after it and with its digest, ``router.json``."""
        tensors = {f"{i}/{name}": t.contiguous() for i, s in enumerate(self.known.values()) for name, t in s.items()}
        write_atomic(place / FILES[0], save_tensors(tensors))
        facts = {"schema": SCHEMA, "router": router.name_of(self.router), "arguments": folder.arguments(self.router)}
        facts |= {
            "width": self.width,
            "tasks": list(self.tasks),
            "temperature": self.temperature,
            "tensors": tensors_digest(tensors),
        }
        write_json(place / FILES[1], facts)

    @staticmethod
    def load(place: Path) -> TaskInference:
        """Raises CorruptError for files that are missing, or not what was saved."""
        try:
            facts = json.loads((place / FILES[1]).read_text(encoding="utf-8"))
            tensors = load_tensors((place / FILES[0]).read_bytes())
            if facts["schema"] != SCHEMA or facts["tensors"] != tensors_digest(tensors):
                raise ValueError("the tensors are not those that it names")
            known: dict[str, Stats] = {task: {} for task in facts["tasks"]}
            for key, tensor in tensors.items():
                number, _, name = key.partition("/")
                known[facts["tasks"][int(number)]][name] = tensor
            chosen = router.named(facts["router"], facts["arguments"])
            return TaskInference(chosen, known, float(facts["temperature"]), facts["width"])
        except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as error:
            raise CorruptError(f"{place / FILES[1]} is not a saved router: {error}") from error

    def _require_width(self, width: int) -> None:
        if self.width not in (None, width):
            raise ContinualError(
                f"a router expected features of {self.width} dimensions, got {width}: show it one encoder's"
            )


def _sorted(query: Query, tasks: tuple[str, ...], ordered: list[str]) -> Query:
    """The same rows, their true tasks numbered as in ``ordered``; -1, of no task, stays."""
    if query.truth is None:
        return query
    number = torch.tensor([*(ordered.index(task) for task in tasks), -1])
    return replace(query, truth=number[query.truth])
