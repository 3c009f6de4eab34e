"""Learning without forgetting: old answers to new rows are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.errors import ContinualError
from continual.strategy.base import Rule, Stage, Strategy

if TYPE_CHECKING:
    from continual.member import Member

BATCH = 64


@dataclass(frozen=True)
class LwF(Strategy):
    """Penalty λ T² KL(softmax(z°/T) ‖ softmax(z/T)) over the old outputs, on the rows of the new task.

    z° are the logits of module and head as the last task left them. Li & Hoiem 2017, eq. 2 and 3, with Hinton's T², so
    that the gradient does not shrink with T; there cross-entropy stands for the divergence, which differs by a
    constant. With task identities each old task's outputs are a distribution of their own, without them all are one.
    No old row is kept.
    """

    strength: float = 1.0
    temperature: float = 2.0

    shared: ClassVar[bool] = True
    one_head: ClassVar[bool] = True
    heads: ClassVar[tuple[str, ...]] = ("classify",)

    def __post_init__(self) -> None:
        if not self.strength >= 0 or not self.temperature > 0:
            raise ContinualError(
                "expected strategy.strength of 0 or more and strategy.temperature above 0, "
                f"got {self.strength}, {self.temperature}"
            )

    def rule(self, member: Member, stage: Stage) -> Rule:
        return _Rule(member, stage, self) if stage.rivals else Rule(member, stage)


class _Rule(Rule):
    def __init__(self, member: Member, stage: Stage, of: LwF) -> None:
        super().__init__(member, stage)
        self.of = of
        data = stage.encode(stage.task.train)
        with torch.no_grad():
            said = [member.rehearse(data, rows)[0] for rows in torch.arange(len(data)).split(BATCH)]
        ids = data.row.to(said[0].device)
        self.ids, order = ids.sort()
        self.said = torch.cat(said)[order]

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        place = torch.searchsorted(self.ids, row).clamp_max(len(self.ids) - 1)
        ours = self.ids[place] == row  # not a row of earlier tasks, which another strategy of a chain may repeat
        before, t = self.said[place], self.of.temperature
        total = logits.new_zeros(())
        for outputs in map(list, self.stage.rivals):
            new, old = (F.log_softmax(z[:, outputs] / t, 1) for z in (logits, before))
            apart = F.kl_div(new, old, reduction="none", log_target=True).sum(1)
            total = total + (apart * ours).sum() / ours.sum().clamp_min(1)
        return self.of.strength * t * t * total
