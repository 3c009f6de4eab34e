"""A-GEM: no step that makes the memory worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from continual.adapter import generator
from continual.errors import ContinualError
from continual.strategy.base import Rule, Stage, Strategy
from continual.strategy.replay import reservoir

if TYPE_CHECKING:
    from continual.member import Member


@dataclass(frozen=True)
class AGEM(Strategy):
    """g ← g − (g·m / m·m) m where g·m < 0, with m the gradient on ``batch`` rows of a memory of earlier tasks.

    Chaudhry et al. 2019 (A-GEM), eq. 11; g is what the step would follow, of module and head together. The memory is
    the reservoir of ``replay`` (theirs holds as many rows of each task), a step's rows are f(seed, task, step).
    """

    size: int = 200
    batch: int = 32

    shared: ClassVar[bool] = True
    one_head: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.size < 1 or self.batch < 1:
            raise ContinualError(
                f"strategy.size and strategy.batch must be at least 1, got {self.size} and {self.batch}"
            )

    def rule(self, member: Member, stage: Stage) -> Rule:
        return _Rule(member, stage, self) if len(stage.tasks) > 1 else Rule(member, stage)


class _Rule(Rule):
    def __init__(self, member: Member, stage: Stage, of: AGEM) -> None:
        super().__init__(member, stage)
        self.of = of
        self.data = stage.encode(reservoir(stage.tasks[:-1], of.size, stage.seed))

    def gradients(self) -> None:
        rng = generator(self.stage.seed, "memory", self.stage.task.name, str(self.member.steps))
        rows = torch.randperm(len(self.data), generator=rng)[: self.of.batch]
        _, loss = self.member.rehearse(self.data, rows)
        pairs = [
            (own.gradient, remembered)
            for own, remembered in zip(self.member.parameters(), self.member.gradients_of(loss), strict=True)
            if own.gradient is not None and remembered is not None
        ]
        dot = sum(((g * m).sum() for g, m in pairs), torch.zeros(()))
        if dot < 0:
            share = dot / sum(((m * m).sum() for _, m in pairs), torch.zeros(()))
            for g, m in pairs:
                g.sub_(share * m)
