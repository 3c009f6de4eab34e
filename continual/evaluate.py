"""Cells of the accuracy matrix: seen tasks by their own module and head, unseen ones by nearest class mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from continual.adapter import generator
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError, unknown
from continual.files import canonical, sha256
from continual.head.base import Head
from continual.ledger import Cell, Ledger, wilson
from continual.method.base import Params
from continual.predict import Pool, answers, features
from continual.stream.base import Example, Task
from continual.stream.text import Encoded, Reader


@dataclass(frozen=True)
class Evaluate:
    """unseen  "ncm": tasks not learned yet are scored by nearest class mean on the current features, so that forward
            transfer measures features and not a random head · "none": they are skipped
    reuse   a cell is taken from the ledger where module, head, data and encoder are the same; False forwards every cell
    shots   training rows per class that the class means are made of
    """

    unseen: Literal["ncm", "none"] = "ncm"
    reuse: bool = True
    shots: int = 32

    def __post_init__(self) -> None:
        if self.unseen not in ("ncm", "none"):
            raise unknown("evaluate.unseen", self.unseen, ("ncm", "none"))
        if self.shots < 1:
            raise ContinualError(f"evaluate.shots must be at least 1, got {self.shots}")


class Evaluator:
    """Scores rows of a run's ledger. ``forwarded`` counts the rows that went through the encoder for it."""

    def __init__(
        self,
        model: AdaptedEncoder,
        pool: Pool,
        reader: Reader,
        ledger: Ledger,
        options: Evaluate,
        salt: str,
        seed: int,
    ) -> None:
        self.model, self.pool, self.reader, self.ledger, self.options = model, pool, reader, ledger, options
        self.salt = salt  # what else a score depends on: encoder, pooling, length limit
        self.seed = seed
        self.forwarded = 0

    def seen(
        self, stage: str, after: int, index: int, task: Task, modules: Sequence[str], answer: Callable[[], Tensor]
    ) -> Cell:
        """The cell of a task that has a head: ``answer`` forwards its test rows and says which are right.

        ``modules`` are the digests of what answers (module, head, mixer); where a cell with the same digests on the
        same rows is in the ledger, nothing is forwarded.
        """
        key = self.key([*modules], task)
        if (old := self._known(key)) is not None:
            return _again(old, stage, after, index)
        return cell_of(stage, after, index, answer(), how="own", key=key)

    def right(self, task: Task, head: Head, head_params: Params) -> Tensor:
        """(n,) which test rows are answered rightly by what is loaded in the encoder now, and this head."""
        data = self.reader(task.test)
        bank = HeadBank([(head, head_params)]).to(next(self.model.encoder.parameters()).device)
        self.forwarded += len(data)
        return answers(self.model, bank, self.pool, data) == data.labels

    def unseen(
        self, stage: str, after: int, index: int, task: Task, module: str, load: Callable[[], object]
    ) -> Cell | None:
        """Nearest class mean on the features of the module that ``load`` puts into the encoder.

        None where it is switched off; a cell without a score where a class has no training row.
        """
        if self.options.unseen == "none":
            return None
        shots = few(task, self.options.shots, self.seed)
        if missing := sorted(set(range(len(task.labels))) - {row.label for row in shots}):
            why = f"no training row of {[task.labels[i] for i in missing[:3]]}"
            return Cell(stage, after, index, None, len(task.test), how="ncm", why=why)
        key = self.key([module, "ncm", str(self.options.shots), str(self.seed)], task)
        if (old := self._known(key)) is not None:
            return _again(old, stage, after, index)
        load()
        support, data = self.reader(shots), self.reader(task.test)
        self.forwarded += len(data) + len(support)
        return cell_of(stage, after, index, self._nearest(support, data) == data.labels, how="ncm", key=key)

    def _nearest(self, support: Encoded, data: Encoded) -> Tensor:
        """(n,) the class whose mean over the support rows is nearest, by Euclidean distance."""
        known = features(self.model, self.pool, support)
        means = torch.stack([known[support.labels == c].mean(0) for c in support.labels.unique()])
        return torch.cdist(features(self.model, self.pool, data), means).argmin(1)

    def key(self, digests: list[str], task: Task) -> str:
        """Digest of all that a score depends on."""
        return sha256(canonical([self.salt, digests, task.digest]))

    def _known(self, key: str) -> Cell | None:
        if not self.options.reuse:
            return None
        return next((cell for cell in self.ledger.cells if cell.key == key), None)


def few(task: Task, shots: int, seed: int) -> Sequence[Example]:
    """At most ``shots`` training rows of each class, drawn by f(seed, task name)."""
    order = torch.randperm(len(task.train), generator=generator(seed, "few", task.name)).tolist()
    taken = [0] * len(task.labels)
    rows = []
    for index in order:
        row = task.train[index]
        if taken[row.label] < shots:
            taken[row.label] += 1
            rows.append(row)
    return rows


def paired(right: Tensor, reference: Tensor, seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """Mean difference of two answer vectors on the same rows, and its 95 % paired bootstrap interval."""
    difference = right.double() - reference.double()
    picks = torch.randint(len(difference), (draws, len(difference)), generator=generator(seed, "bootstrap"))
    means = difference[picks].mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return float(difference.mean()), low, high


def cell_of(stage: str, after: int, index: int, right: Tensor, *, how: str, key: str) -> Cell:
    """The share of right answers, with its Wilson interval."""
    hits, n = int(right.sum()), len(right)
    low, high = wilson(hits, n)
    return Cell(stage, after, index, hits / n, n, low, high, how, key)


def _again(old: Cell, stage: str, after: int, index: int) -> Cell:
    return Cell(stage, after, index, old.score, old.n, old.low, old.high, old.how, old.key, reused=True)
