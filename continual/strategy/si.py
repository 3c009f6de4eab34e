"""Synaptic intelligence: what lowered the loss on the way moves little afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from continual.errors import ContinualError
from continual.strategy.base import Memory, Rule, Stage, Strategy
from continual.strategy.ewc import known_part

if TYPE_CHECKING:
    from continual.member import Member


@dataclass(frozen=True)
class SI(Strategy):
    """Penalty c Σ_i Ω_i (θ_i − θ*_i)², with Ω_i ← Ω_i + max(0, ω_i) / ((Δ_i)² + ξ) after each task.

    ω_i = −Σ_steps g_i δ_i sums, over the task's steps, the gradient g of the task's own loss (the penalty's is taken
    off) times the step δ that was taken; Δ is the task's whole move. Zenke et al. 2017, eq. 3 to 5; that a negative ω
    counts as zero is their code's. g is taken before the norm is clipped. θ is what ``ewc`` holds too.
    """

    strength: float = 1.0
    damping: float = 1e-3

    shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.strength >= 0 or not self.damping > 0:
            raise ContinualError(
                "expected strategy.strength of 0 or more and strategy.damping above 0, "
                f"got {self.strength}, {self.damping}"
            )

    def rule(self, member: Member, stage: Stage) -> Rule:
        return _Rule(member, stage, self)


class _Rule(Rule):
    """Memory: "omega/<parameter>" and "anchor/<parameter>"."""

    def __init__(self, member: Member, stage: Stage, of: SI) -> None:
        super().__init__(member, stage)
        self.of = of
        self.known = self.remembered()
        self.start = {own.name: own.value.detach().clone() for own in self.going()}
        self.path = {name: torch.zeros_like(value) for name, value in self.start.items()}
        self.before: dict[str, tuple[Tensor, Tensor]] = {}

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        total: Tensor | float = 0.0
        for own in self.member.parameters():
            if (omega := self.known.get(f"omega/{own.name}")) is not None:
                moved = known_part(own.value, omega) - self.known[f"anchor/{own.name}"]
                total = total + (omega * moved.square()).sum()
        return self.of.strength * total

    def gradients(self) -> None:
        self.before = {}
        for own in self.going():
            if own.gradient is not None:
                value, gradient = own.value.detach().clone(), own.gradient.clone()
                if (omega := self.known.get(f"omega/{own.name}")) is not None:
                    moved = known_part(value, omega) - self.known[f"anchor/{own.name}"]
                    known_part(gradient, omega).sub_(2 * self.of.strength * omega * moved)
                self.before[own.name] = value, gradient

    def stepped(self) -> None:
        for own in self.member.parameters():
            if (before := self.before.get(own.name)) is not None:
                value, gradient = before
                self.path[own.name] -= gradient * (own.value.detach() - value)

    def memory(self) -> Memory:
        memory: Memory = {}
        for own in self.going():
            moved = (own.value.detach() - self.start[own.name]).square()
            omega = self.path[own.name].clamp_min(0) / (moved + self.of.damping)
            if (old := self.known.get(f"omega/{own.name}")) is not None:
                known_part(omega, old).add_(old)
            memory |= {f"omega/{own.name}": omega, f"anchor/{own.name}": own.value.detach().clone()}
        return memory
