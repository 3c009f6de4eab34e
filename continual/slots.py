"""The parameters of a stack, member by member: gradients, norms and steps are each member's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from continual.adamw import StackedAdamW


class Slots:
    """Trainable parameters of ``count`` members.

    stacked  (parameter, owners): the first axis has one slot for each of the owners
    whole    parameters without slots, a mixer's: they belong to member 0, who is then the only one
    """

    def __init__(
        self, stacked: Iterable[tuple[nn.Parameter, tuple[int, ...]]], whole: Iterable[nn.Parameter], count: int
    ) -> None:
        self.stacked, self.whole, self.count = list(stacked), list(whole), count

    def optimizer(self, weight_decay: float, alone: bool = True) -> torch.optim.Optimizer:
        """AdamW: of a member ``alone`` as torch has it, else with a rate and a count of steps for each.

        Weight decay acts on adapters and heads; a mixer's own regulariser says where it shall stay.
        """
        if not alone:
            return StackedAdamW(self.stacked, self.count, weight_decay, self.whole)
        stacked = {"params": [parameter for parameter, _ in self.stacked], "weight_decay": weight_decay}
        groups = [group for group in (stacked, {"params": self.whole, "weight_decay": 0.0}) if group["params"]]
        return torch.optim.AdamW(groups, lr=1.0, fused=self.device.type in ("cpu", "cuda"))

    @property
    def device(self) -> torch.device:
        return next(p.device for p in (*(p for p, _ in self.stacked), *self.whole))

    def of(self, member: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Of one member: each value, to be differentiated, and its gradient, a view that may be written into."""
        for parameter, owners in self.stacked:
            if member in owners:
                slot = owners.index(member)
                yield parameter[slot], None if parameter.grad is None else parameter.grad[slot]
        for parameter in self.whole:
            yield parameter, parameter.grad

    def gradients_of(self, member: int, loss: Tensor) -> list[Tensor | None]:
        """Of a loss, by each of the values of ``of``, in its order; no ``grad`` is touched."""
        own = [(p, owners.index(member)) for p, owners in self.stacked if member in owners]
        found = torch.autograd.grad(loss, [*(p for p, _ in own), *self.whole], allow_unused=True)
        slots = [None if g is None else g[slot] for g, (_, slot) in zip(found, own, strict=False)]
        return [*slots, *found[len(own) :]]

    def step(
        self, optimizer: torch.optim.Optimizer, rates: Sequence[float], limits: Sequence[float] | None = None
    ) -> None:
        """Each member steps at its own rate, its gradient scaled down to its largest norm over all its slots."""
        stacked = getattr(optimizer, "optimizer", optimizer)  # what Lightning has wrapped
        if isinstance(stacked, StackedAdamW):
            given = torch.tensor([limits or [math.inf] * self.count, rates], dtype=torch.float64).to(self.device)
            stacked.gather(*given)
        else:
            if limits is not None:
                torch.nn.utils.clip_grad_norm_([*(p for p, _ in self.stacked), *self.whole], limits[0])
            for group in optimizer.param_groups:
                group["lr"] = rates[0]
        optimizer.step()
