"""AdamW on a stack: every slot has a rate and a number of steps of its own, and no step waits for the host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPS = 1e-8


class StackedAdamW(torch.optim.Optimizer):
    """p ← p − η (m̂ / (√v̂ + ε) + λ p), with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ): AdamW (Loshchilov & Hutter 2019).

    Here η and t are those of the member that owns a slot of a parameter's first axis; ``torch.optim.AdamW`` has one of
    each for a whole parameter. A slot whose rate is 0 stays as it is, whatever its gradient: its member has stopped, or
    has yet to begin. What the members of a stack own together is one matrix, a row a slot, so that a step has as many
    kernels for all modules and layers as for one tensor. β = (0.9, 0.999), ε = 1e-8.

    whole  parameters without slots, a mixer's: they are member 0's, and λ is 0 for them
    """

    def __init__(
        self,
        stacked: Sequence[tuple[nn.Parameter, tuple[int, ...]]],
        count: int,
        weight_decay: float,
        whole: Sequence[nn.Parameter] = (),
    ) -> None:
        super().__init__([*(p for p, _ in stacked), *whole], {"lr": 1.0, "weight_decay": weight_decay})
        owned: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for parameter, owners in stacked:
            owned.setdefault(owners, []).append(parameter)
        self.parts = [_Part(owners, parameters, weight_decay) for owners, parameters in owned.items()]
        self.parts += [_Part((0,), list(whole), 0.0, whole=True)] if whole else []
        self.count = count
        self.rates = self.parts[0].mean.new_zeros(count)

    def gather(self, limits: Tensor, rates: Tensor) -> None:
        """For the next step: the gradients as they are now, scaled down to each member's largest norm, and its rate.

        limits, rates  (N,) one each a member, on the parameters' device; inf is no limit
        """
        self.rates = rates
        for part in self.parts:
            part.gather()
        square = self.parts[0].gradient.new_zeros(self.count)
        for part in self.parts:
            square = square.index_add(0, part.index, part.gradient.square().sum(1))
        factor = (limits.to(square) / (square.sqrt() + 1e-6)).clamp_max(1.0)
        for part in self.parts:
            part.gradient.mul_(factor[part.index, None])

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """With the gradients and rates that were gathered."""
        for part in self.parts:
            part.step(self.rates.to(part.gradient)[part.index, None])


class _Part:
    """The parameters that the same members own: values, gradients and moments as (slots, numbers) matrices."""

    def __init__(
        self, owners: tuple[int, ...], parameters: list[nn.Parameter], decay: float, whole: bool = False
    ) -> None:
        self.parameters, self.decay, self.whole = parameters, decay, whole
        self.index = torch.tensor(owners, device=parameters[0].device)
        self.sizes = [p.numel() // len(owners) for p in parameters]
        self.gradient = torch.empty(0)
        self.mean = parameters[0].new_zeros(len(owners), sum(self.sizes))
        self.square = torch.zeros_like(self.mean)
        self.steps = self.mean.new_zeros(len(owners), 1)

    def gather(self) -> None:
        self.gradient = self._matrix(torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters)

    def step(self, rate: Tensor) -> None:
        """rate (slots, 1)"""
        # What is not finite in an idle slot must not reach the values, and no moment begins before its member.
        self.gradient.masked_fill_(rate == 0, 0.0)
        self.steps += rate > 0
        self.mean.lerp_(self.gradient, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(self.gradient, self.gradient, value=1 - BETAS[1])
        t = self.steps.clamp_min(1)
        first, second = 1 - BETAS[0] ** t, (1 - BETAS[1] ** t).sqrt()
        values = self._matrix(self.parameters)
        values.mul_(1 - rate * self.decay)
        values.sub_(self.mean / (self.square.sqrt() / second).add_(EPS) * (rate / first))
        moved = [(p, new) for p, new in zip(self.parameters, self._apart(values), strict=True) if p.grad is not None]
        if moved:
            here, there = zip(*moved, strict=True)
            torch._foreach_copy_(here, there)  # pyright: ignore[reportPrivateImportUsage]

    def _apart(self, values: Tensor) -> list[Tensor]:
        return [v.view_as(p) for p, v in zip(self.parameters, values.split(self.sizes, 1), strict=True)]

    def _matrix(self, tensors: Iterable[Tensor]) -> Tensor:
        """(slots, …) tensors side by side, a row a slot."""
        return torch.cat([tensor.detach().reshape(len(self.index), -1) for tensor in tensors], 1)
