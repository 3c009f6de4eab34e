"""Steps of a group that the host starts and does not wait for: on a GPU each is a CUDA graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from continual.adamw import StackedAdamW
from continual.captured import Captured
from continual.later import Later
from continual.predict import to_device
from continual.types import Batch

if TYPE_CHECKING:
    from continual.learner import Learner


class EvenSteps:
    """A learner's steps as work of the device alone, on the batches of ``steps.py`` that are ``even``.

    The host reads each loss when it has arrived. A member whose loss was not finite has diverged at that step, though
    the host knows only later: nobody asks for what it was in between, and no other member has a part in it.
    """

    def __init__(self, learner: Learner, limits: Sequence[float]) -> None:
        self.learner = learner
        self.limits = torch.tensor(limits, dtype=torch.float64, device=learner.device)
        self._call: Callable[..., Tensor] = Captured(self.whole) if learner.device.type == "cuda" else self.whole
        self._known: deque[tuple[int, Later]] = deque()

    def __call__(self, batch: Batch, step: int, rates: Sequence[float]) -> Tensor:
        """Take a step at these rates; (N,) losses."""
        given = to_device(torch.tensor(rates, dtype=torch.float64), self.learner.device)
        losses = self._call(batch, given).clone()
        self._known.append((step, Later(losses)))
        return losses

    def whole(self, batch: Batch, rates: Tensor) -> Tensor:
        """Forward, backward and AdamW at these (N,) rates, and no word to the host."""
        stacked = cast(StackedAdamW, cast(Any, self.learner.optimizers()).optimizer)  # what Lightning has wrapped
        stacked.zero_grad(set_to_none=True)
        losses = self.learner.losses(batch)
        losses.sum().backward()
        stacked.gather(self.limits, rates)
        stacked.step()
        return losses.detach()

    def look(self, wait: bool) -> None:
        """At the losses that have arrived, or at all."""
        while self._known and (wait or self._known[0][1].arrived):
            step, later = self._known.popleft()
            self.learner.watch(later.read(), step)
