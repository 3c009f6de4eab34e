"""AdamW on a stack: every slot has a rate and a number of steps of its own."""

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
    """

    def __init__(
        self, stacked: Sequence[tuple[nn.Parameter, tuple[int, ...]]], count: int, weight_decay: float
    ) -> None:
        super().__init__([parameter for parameter, _ in stacked], {"lr": 1.0, "weight_decay": weight_decay})
        owned: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for parameter, owners in stacked:
            owned.setdefault(owners, []).append(parameter)
        self.parts = [_Part(owners, parameters) for owners, parameters in owned.items()]
        self.count = count
        self.rates: Sequence[float] = [0.0] * count

    def gather(self, limits: Sequence[float], rates: Sequence[float]) -> None:
        """For the next step: the gradients as they are now, scaled down to each member's largest norm, and its rate."""
        self.rates = rates
        for part in self.parts:
            part.gather()
        first = self.parts[0].gradient
        square = first.new_zeros(self.count)
        for part in self.parts:
            square = square.index_add(0, part.index, part.gradient.square().sum(1))
        factor = (torch.tensor(limits, device=first.device) / (square.sqrt() + 1e-6)).clamp_max(1.0).to(first.dtype)
        for part in self.parts:
            part.gradient.mul_(factor[part.index, None])

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """With the gradients and rates that were gathered."""
        rates = torch.tensor(self.rates, dtype=torch.float64)
        for part in self.parts:
            part.step(rates.to(part.gradient), self.param_groups[0]["weight_decay"], min(self.rates) == 0)


class _Part:
    """The parameters that the same members own: values, gradients and moments as (slots, numbers) matrices."""

    def __init__(self, owners: tuple[int, ...], parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.index = torch.tensor(owners, device=parameters[0].device)
        self.gradient = torch.empty(0)
        self.mean = self.square = parameters[0].new_zeros(len(owners), sum(p[0].numel() for p in parameters))
        self.square = torch.zeros_like(self.mean)
        self.steps = self.mean.new_zeros(len(owners), 1)

    def gather(self) -> None:
        self.gradient = _matrix(torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters)

    def step(self, rates: Tensor, decay: float, idle: bool) -> None:
        rate = rates[self.index, None]
        if idle:  # what is not finite there must not reach the values, and no moment begins before its member
            self.gradient.masked_fill_(rate == 0, 0.0)
        self.steps += rate > 0
        self.mean.lerp_(self.gradient, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(self.gradient, self.gradient, value=1 - BETAS[1])
        ones, t = torch.ones_like(self.steps), self.steps.clamp_min(1)
        first, second = ones - BETAS[0] ** t, (ones - BETAS[1] ** t).sqrt()
        values = _matrix(self.parameters)
        values.mul_(1 - rate * decay).sub_(self.mean / (self.square.sqrt() / second).add_(EPS) * (rate / first))
        moved = [(p, new) for p, new in zip(self.parameters, self._apart(values), strict=True) if p.grad is not None]
        if moved:
            here, there = zip(*moved, strict=True)
            torch._foreach_copy_(here, there)  # pyright: ignore[reportPrivateImportUsage]

    def _apart(self, values: Tensor) -> list[Tensor]:
        sizes = [p[0].numel() for p in self.parameters]
        return [v.view_as(p) for p, v in zip(self.parameters, values.split(sizes, 1), strict=True)]


def _matrix(tensors: Iterable[Tensor]) -> Tensor:
    """(slots, …) tensors side by side, a row a slot."""
    return torch.cat([tensor.detach().reshape(len(tensor), -1) for tensor in tensors], 1)
