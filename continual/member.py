"""One slot's view of the stack: when it steps, how fast, when it stops, and what it has learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.composition.base import mixer_params
from continual.curve import Curve
from continual.errors import NotFinite
from continual.method.base import Params
from continual.predict import answers, to
from continual.request import Learn
from continual.score.base import value
from continual.stream.batching import epoch_batches
from continual.stream.units import Encoded, collate, examples

if TYPE_CHECKING:
    from continual.learner import Learner


@dataclass(frozen=True)
class State:
    """All that a member has learned at one moment, with the validation score that it has there."""

    score: float
    adapter: Adapter
    head_params: Params
    mixers: dict[str, Tensor]


class Own(NamedTuple):
    """A parameter of a member: its value, which is part of every loss, and its gradient, which may be written into.

    name  "module/<layer>/<site>/<parameter>", as the module's tensors are stored, or "head/<parameter>"
    """

    name: str
    value: Tensor
    gradient: Tensor | None


class Member:
    """What a strategy sees of the module that it trains.

    start  the step of the training at which its own first step is; None: it waits (``lanes.py``)
    """

    def __init__(self, index: int, request: Learn, learner: Learner) -> None:
        self.index, self.request, self.learner = index, request, learner
        self.batches = [
            rows
            for epoch in range(request.recipe.epochs)
            for rows in epoch_batches(request.train.lengths, request.recipe.batch_size, request.seed, epoch)
        ]
        self.per_epoch = len(self.batches) // request.recipe.epochs
        self.start: int | None = 0
        self.steps = 0
        self.stopped = False
        self.diverged = ""
        self.best: State | None = None
        self.waited = 0
        self.curve = request.losses and Curve(request.losses, request.name, len(self.batches))

    @property
    def padding(self) -> float:
        """Tokens of its batches with what fills them up, over those of its texts."""
        data, sizes = self.request.train, torch.tensor([len(rows) for rows in self.batches])
        units, row = data.units(torch.cat(self.batches))
        lengths, batch = data.packed.lengths[units], torch.arange(len(sizes)).repeat_interleave(sizes)[row]
        widest = torch.zeros_like(sizes).scatter_reduce(0, batch, lengths, "amax")
        return int((batch.bincount(minlength=len(sizes)) * widest).sum()) / int(lengths.sum())

    def parameters(self) -> list[Own]:
        """All of the member's own, those of the module first, in the same order at every task of a run."""
        names = [f"module/{name}" for name in self.learner.model.trained(self.index)]
        names += [f"head/{name}" for name in sorted(self.request.head_params)]  # as the bank has them
        return [Own(name, *pair) for name, pair in zip(names, self.learner.slots.of(self.index), strict=True)]

    def rehearse(self, data: Encoded, rows: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the units of these rows, and the rows' mean loss, as the member is now; with gradients."""
        learner = self.learner
        device = next(learner.model.encoder.parameters()).device
        batch = to(collate(data, rows), device)
        if (index := learner.index_of(self)) is not None:
            batch.member = torch.full((len(batch.inputs),), index, device=device)
        [answer] = [answer for answer in learner.bank(learner.model.read(batch), batch.member) if len(answer.rows)]
        own = torch.full_like(answer.rows, self.index)
        loss = answer.head.loss(answer.logits, batch.targets[answer.head.path()], examples(batch), own)
        return answer.logits, loss.mean()

    def gradients_of(self, loss: Tensor) -> list[Tensor | None]:
        """Of a loss of this member by each of its ``parameters``, which stay as they are; None where it has none."""
        return self.learner.slots.gradients_of(self.index, loss)

    def trains(self, step: int) -> bool:
        """Whether a step of the training is one of its own."""
        return self.start is not None and not self.stopped and self.start <= step < self.start + len(self.batches)

    def over(self, step: int) -> bool:
        """Whether it has nothing to do in a step, nor in any that follows."""
        return self.stopped or (self.start is not None and step >= self.start + len(self.batches))

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then linear decay that would reach zero one step after the last."""
        if self.start is None or not self.trains(step):
            return 0.0
        step -= self.start
        warm = round(self.request.recipe.warmup * len(self.batches))
        if step < warm:
            return self.request.lr * (step + 1) / (warm + 1)
        return self.request.lr * (len(self.batches) - step) / (len(self.batches) - warm)

    def state(self, said: Sequence[Any] | None = None) -> State:
        """The member as it is now, and its score on the validation rows, where its answers to them are not known."""
        learner = self.learner
        return State(
            score=self._score(said),
            adapter=learner.model.take(self.index),
            head_params=learner.bank.take(self.index),
            mixers=mixer_params(learner.model),
        )

    def _score(self, said: Sequence[Any] | None) -> float:
        """On the validation rows; numbers that are not finite are no answers, and the member has diverged."""
        learner, valid, score = self.learner, self.request.valid, self.request.score
        if said is None:
            said = answers(learner.model, learner.bank, valid, learner.index_of(self))
        try:
            return value(score, score.rows(said, valid.wanted, self.request.labels))
        except NotFinite:
            self.diverged = self.diverged or f"answers that are not finite after step {self.steps}"
            return -math.inf

    def end_epoch(self) -> None:
        """With patience: keep the best state so far, and stop when it has not improved for long enough."""
        patience = self.request.recipe.patience
        if patience is None:
            return
        state = self.state()
        if state.score > (self.best.score if self.best else -math.inf):
            self.best, self.waited = state, 0
        else:
            self.waited += 1
            self.stopped = self.waited >= patience
