"""What the bare encoder and the modules of a run say of its rows: each row is forwarded once for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from continual import head
from continual.head.classify import Classify
from continual.method.base import Params
from continual.predict import row_features
from continual.router.base import Evidence, Query
from continual.session import Kept, Session
from continual.stages import answering, own_head
from continual.stream.base import Rows, Task


class Readings:
    """Of the tasks of a run's stream, by their number."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._bare: dict[tuple[str, int], Tensor] = {}
        self._logits: dict[tuple[str, int, int], Tensor] = {}
        self._known: dict[tuple[str, int, int], Tensor] = {}

    def task(self, index: int) -> Task:
        return self.session.parts.stream.tasks[index]

    def classifies(self, index: int) -> bool:
        """Whether its head gives logits of classes."""
        return isinstance(head.named(self.task(index).head), Classify)

    def module(self, index: int) -> Kept | None:
        """The one that answers for the task: its own, or where one is shared what that is now. None: it diverged."""
        found = answering(self.session, index, len(self.session.parts.stream.tasks) - 1)
        return None if found is None else found[0]

    def evidence(self, index: int, logits: bool) -> Evidence:
        """Of a task's training rows; a task without classes is one class."""
        task = self.task(index)
        labels = torch.tensor([row.label if self.classifies(index) else 0 for row in task.train])
        own = self.logits("train", index, range(len(task.train)), index) if logits else None
        return Evidence(self.bare("train", index), labels, own)

    def query(self, split: str, asked: Sequence[int], known: Sequence[int]) -> Query:
        """The rows of a split of some tasks, those of one below those of another."""
        at = [(index, row) for index in asked for row in range(len(self.task(index).splits[split]))]
        numbers = {self.task(index).name: index for index in known}

        def said(name: str, rows: Tensor) -> Tensor:
            by, found = numbers[name], [at[row] for row in rows.tolist()]
            said = torch.zeros(len(found), len(self.task(by).labels))
            for index in dict.fromkeys(index for index, _ in found):
                mine = torch.tensor([other == index for other, _ in found])
                said[mine] = self.logits(split, index, [row for other, row in found if other == index], by)
            return said

        truth = torch.tensor([known.index(index) for index, _ in at], dtype=torch.long)
        return Query(torch.cat([self.bare(split, index) for index in asked]), said, truth)

    def bare(self, split: str, index: int) -> Tensor:
        """(rows, d) features of a task's rows in the bare encoder."""
        if (split, index) not in self._bare:
            self.session.model.mix(None)
            self.session.model.load([])
            self._bare[split, index] = self._read(index, self.task(index).splits[split])
        return self._bare[split, index]

    def logits(self, split: str, index: int, rows: Sequence[int], by: int) -> Tensor:
        """(len(rows), C) of rows of a task under the module and head of task ``by``."""
        place, task = (split, index, by), self.task(index)
        if place not in self._known:
            self._known[place] = torch.zeros(len(task.splits[split]), dtype=torch.bool)
            self._logits[place] = torch.zeros(len(task.splits[split]), len(self.task(by).labels))
        asked = torch.as_tensor(list(rows), dtype=torch.long)
        new = asked[~self._known[place][asked]]
        if len(new):
            params = self._load(by)
            states = self._read(index, [task.splits[split][i] for i in new.tolist()])
            self._logits[place][new] = Classify().logits(params, states.to(params["weight"]), torch.ones(0))
            self._known[place][new] = True
        return self._logits[place][asked]

    def _load(self, by: int) -> Params:
        """The module of a task into the encoder; its head."""
        found = answering(self.session, by, len(self.session.parts.stream.tasks) - 1)
        assert found is not None
        module, of = found
        self.session.model.mix(None)
        self.session.model.load([self.session.adapter(module)])
        return own_head(self.session, of, by)

    def _read(self, index: int, rows: Rows) -> Tensor:
        """(rows, d) under what is loaded now; of a row in several units their mean."""
        task = self.task(index)
        data = self.session.reader(rows, head.named(task.head), task.labels)
        self.session.evaluator.forwarded += len(data.inputs)
        return row_features(self.session.model, data)
