"""The arithmetic of a stack: N members under one optimizer, each with a gradient norm and a learning rate of its own.

AdamW's moments depend on gradients alone and its step is linear in the learning rate, so a slot that moves only a share
s of the common step has stepped exactly as if its own rate were s times the common one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn


class Slots:
    """Trainable parameters of ``count`` members.

    stacked  (parameter, owners): the first axis has one slot for each of the owners
    whole    parameters without slots, a mixer's: they belong to member 0, who is then the only one
    """

    def __init__(
        self, stacked: Iterable[tuple[nn.Parameter, tuple[int, ...]]], whole: Iterable[nn.Parameter], count: int
    ) -> None:
        self.stacked, self.whole, self.count = list(stacked), list(whole), count
        self._made: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}

    def optimizer(self, weight_decay: float) -> torch.optim.AdamW:
        """Weight decay acts on adapters and heads; a mixer's own regulariser says where it shall stay."""
        stacked = {"params": [parameter for parameter, _ in self.stacked], "weight_decay": weight_decay}
        groups = [group for group in (stacked, {"params": self.whole, "weight_decay": 0.0}) if group["params"]]
        fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
        return torch.optim.AdamW(groups, lr=1.0, fused=fused)

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

    def clip(self, limits: Sequence[float]) -> None:
        """Scale each member's gradient, over all its slots, down to its own largest norm."""
        if self.count == 1:
            torch.nn.utils.clip_grad_norm_([*(p for p, _ in self.stacked), *self.whole], limits[0])
            return
        stacked = [(p.grad, owners) for p, owners in self.stacked if p.grad is not None]
        like = next(parameter for parameter, _ in self.stacked)
        square = torch.zeros(self.count, device=like.device, dtype=like.dtype)
        for gradient, owners in stacked:
            per_slot = gradient.reshape(len(owners), -1).square().sum(1)
            square = square.index_add(0, self._index(owners, like.device), per_slot)
        factor = (torch.tensor(limits, device=like.device) / (square.sqrt() + 1e-6)).clamp_max(1.0).to(like.dtype)
        for gradient, owners in stacked:
            gradient.mul_(self._per_slot(factor, owners, gradient))

    def step(self, optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
        """One step at the largest rate; the slots of slower or stopped members then move only their share of it."""
        largest = max(rates)
        for group in optimizer.param_groups:
            group["lr"] = largest
        if all(rate == largest for rate in rates):
            optimizer.step()
            return
        like = self.stacked[0][0]
        share = torch.tensor([rate / largest for rate in rates], dtype=torch.float64).to(like)
        before = [parameter.detach().clone() for parameter, _ in self.stacked]
        optimizer.step()
        with torch.no_grad():
            for (parameter, owners), old in zip(self.stacked, before, strict=True):
                s = self._per_slot(share, owners, parameter)
                # A stopped member's step may be NaN: it is not multiplied away, it is not taken.
                parameter.copy_(torch.where(s == 0, old, torch.where(s == 1, parameter, old + s * (parameter - old))))

    def _per_slot(self, values: Tensor, owners: tuple[int, ...], parameter: Tensor) -> Tensor:
        """(N,) per member -> (n_slots, 1, …) against a parameter."""
        return values[self._index(owners, values.device)].view(-1, *[1] * (parameter.dim() - 1))

    def _index(self, owners: tuple[int, ...], device: torch.device) -> Tensor:
        """The owners as a tensor, made once: a copy to a GPU at every step and parameter would wait for it."""
        if (owners, device) not in self._made:
            self._made[owners, device] = torch.tensor(owners, device=device)
        return self._made[owners, device]
