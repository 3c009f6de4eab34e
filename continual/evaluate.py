"""Cells of the accuracy matrix: seen tasks by their own module and head, unseen ones by nearest class mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from continual import head
from continual import score as scores
from continual.adapter import generator
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError, unknown
from continual.files import canonical, sha256
from continual.ledger import Cell, Ledger
from continual.method.base import Params
from continual.outcomes import Outcome, Outcomes
from continual.predict import answers, features
from continual.score.base import Floats, Score, interval, value
from continual.stream.base import Example, Rows, Task
from continual.stream.stored import labels_of
from continual.stream.text import Reader
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Evaluate:
    """unseen  "ncm": tasks not learned yet are scored by nearest class mean on the current features, so that forward
            transfer measures features and not a random head · "next": of them only the one that comes next, which is
            all that forward transfer asks for, in T cells and not T²/2 · "none": they are skipped
    reuse   a cell is taken from the ledger where module, head, data and encoder are the same; False forwards every cell
    shots   training rows per class that the class means are made of
    probe   training rows of each task whose logits are compared after every later training (``certificate.py``); 0:
            only the stored tensors and the encoder's are
    """

    unseen: Literal["ncm", "next", "none"] = "ncm"
    reuse: bool = True
    shots: int = 32
    probe: int = 8

    def __post_init__(self) -> None:
        if self.unseen not in (kinds := ("ncm", "next", "none")):
            raise unknown("evaluate.unseen", self.unseen, kinds)
        if self.shots < 1:
            raise ContinualError(f"evaluate.shots must be at least 1, got {self.shots}")
        if self.probe < 0:
            raise ContinualError(f"evaluate.probe must be 0 or more rows of each task, got {self.probe}")


class Evaluator:
    """Scores rows of a run's ledger. ``forwarded`` counts the units that went through the encoder for it."""

    def __init__(
        self,
        model: AdaptedEncoder,
        reader: Reader,
        ledger: Ledger,
        options: Evaluate,
        salt: str,
        seed: int,
        outcomes: Outcomes | None = None,
    ) -> None:
        self.model, self.reader, self.ledger, self.options = model, reader, ledger, options
        self.salt = salt  # what else a score depends on: encoder, pooling, length limit
        self.seed = seed
        self.outcomes = outcomes  # where the rows of each cell are kept; None: nowhere
        self._few: dict[str, Sequence[Example]] = {}  # the same rows at every stage, so that they are read once
        self.forwarded = 0

    def seen(
        self, stage: str, after: int, index: int, task: Task, modules: Sequence[str], answer: Callable[[], Floats]
    ) -> Cell:
        """The cell of a task that has a head: ``answer`` forwards its test rows and gives the statistics of its score.

        ``modules`` are the digests of what answers (module, head, mixer); where a cell with the same digests on the
        same rows is in the ledger, nothing is forwarded.
        """
        key = self.key([*modules], task)
        if (old := self._known(key)) is not None:
            return _again(old, stage, after, index)
        return self.cell(stage, after, index, task, answer(), key)

    def cell(self, stage: str, after: int, index: int, task: Task, stats: Floats, key: str) -> Cell:
        """The score of a task's rows by its own head, with its interval."""
        score = score_of(task)
        if self.outcomes is not None:
            self.outcomes.put(key, Outcome(stats, score_name(task), task.tested))
        low, high = interval(score, stats, self.seed)
        mean, classes = recall(task, stats)
        scored = value(score, stats)
        return Cell(stage, after, index, scored, len(stats), low, high, "own", key, recall=mean, classes=classes)

    def stats(self, task: Task, head_params: Params, rows: Rows | None = None) -> Floats:
        """(n, k) the statistics of the task's score, answered by what is loaded in the encoder now, and this head.

        Of the test rows, or of ``rows``.
        """
        kind = head.named(task.head)
        data = self.reader(task.test if rows is None else rows, kind, task.labels)
        bank = HeadBank([(kind, head_params)]).to(next(self.model.encoder.parameters()).device)
        self.forwarded += len(data.inputs)
        return score_of(task).rows(answers(self.model, bank, data), data.wanted, task.labels)

    def unseen(
        self, stage: str, after: int, index: int, task: Task, module: str, load: Callable[[], object]
    ) -> Cell | None:
        """Nearest class mean on the features of the module that ``load`` puts into the encoder.

        None where it is switched off; a cell without a score where there are no classes, or one has no training row.
        """
        if self.options.unseen == "none":
            return None
        if not head.named(task.head).classes:
            why = f"a {task.head} task has no classes, so no class means"
            return Cell(stage, after, index, None, len(task.test), how="ncm", why=why)
        if task.name not in self._few:
            self._few[task.name] = few(task, self.options.shots, self.seed)
        shots = self._few[task.name]
        if missing := sorted(set(range(len(task.labels))) - {row.label for row in shots}):
            why = f"no training row of {[task.labels[i] for i in missing[:3]]}"
            return Cell(stage, after, index, None, len(task.test), how="ncm", why=why)
        key = self.key([module, "ncm", str(self.options.shots), str(self.seed)], task)
        if (old := self._known(key)) is not None:
            return _again(old, stage, after, index)
        load()
        kind = head.named(task.head)
        support, data = self.reader(shots, kind, task.labels), self.reader(task.test, kind, task.labels)
        self.forwarded += len(data.inputs) + len(support.inputs)
        stats = score_of(task).rows(self._nearest(support, data), data.wanted, task.labels)
        return replace(self.cell(stage, after, index, task, stats, key), how="ncm")

    def _nearest(self, support: Encoded, data: Encoded) -> list[int]:
        """Of each row the class whose mean over the support rows is nearest, by Euclidean distance."""
        known, labels = features(self.model, support), torch.tensor(support.wanted)
        means = torch.stack([known[labels == c].mean(0) for c in labels.unique()])
        return torch.cdist(features(self.model, data), means).argmin(1).tolist()

    def key(self, digests: list[str], task: Task) -> str:
        """Digest of all that a score depends on."""
        return sha256(canonical([self.salt, digests, task.digest]))

    def _known(self, key: str) -> Cell | None:
        return self.ledger.known(key) if self.options.reuse else None


def few(task: Task, shots: int, seed: int) -> Sequence[Example]:
    """At most ``shots`` training rows of each class, drawn by f(seed, task name)."""
    order = torch.randperm(len(task.train), generator=generator(seed, "few", task.name)).tolist()
    taken, labels = [0] * len(task.labels), list(labels_of(task.train))
    rows = []
    for index in order:
        if taken[labels[index]] < shots:
            taken[labels[index]] += 1
            rows.append(task.train[index])
    return rows


def recall(task: Task, stats: Floats) -> tuple[float | None, int]:
    """Mean over the classes that test rows have of the share of their rows that are right, and how many classes.

    (None, 0) where a row has no class, or the task's score does not say of each row whether it is right.
    """
    score = score_of(task)
    if not (head.named(task.head).classes and score.proportion):
        return None, 0
    of = np.array(list(labels_of(task.test)), dtype=np.int64)
    rows = np.bincount(of)
    right = np.bincount(of, weights=score.total(stats))
    there = rows > 0
    return float((right[there] / rows[there]).mean()), int(there.sum())


def score_of(task: Task) -> Score:
    """How the task's answers are judged: by the score that it names, or that its head proposes."""
    return scores.named(score_name(task))


def score_name(task: Task) -> str:
    """The name of that score."""
    return task.score or head.named(task.head).scores[0]


def _again(old: Cell, stage: str, after: int, index: int) -> Cell:
    return replace(old, stage=stage, after=after, task=index, reused=True)
