"""Dark experience replay: old rows, and what was answered to them then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from continual.adapter import generator
from continual.errors import ContinualError
from continual.strategy.base import Memory, Rule, Stage, Strategy
from continual.strategy.replay import held

if TYPE_CHECKING:
    from continual.member import Member

BATCH = 64


@dataclass(frozen=True)
class DER(Strategy):
    """Penalty α ‖z − z°‖² + β CE(z', y') on two draws of ``batch`` rows of a memory: DER++.

    Buzzega et al. 2020, eq. 6. z° are the logits that module and head gave the row when its task was over; the paper
    takes them down on the way, when the row enters the memory. The square is the mean over the outputs that there were
    then. β = 0 is DER. The memory is the reservoir of ``replay``; a step's rows are f(seed, task, step).
    """

    size: int = 200
    batch: int = 32
    alpha: float = 0.5
    beta: float = 0.5

    shared: ClassVar[bool] = True
    one_head: ClassVar[bool] = True
    heads: ClassVar[tuple[str, ...]] = ("classify",)

    def __post_init__(self) -> None:
        if self.size < 1 or self.batch < 1 or not self.alpha >= 0 or not self.beta >= 0:
            raise ContinualError(
                "expected strategy.size, strategy.batch of 1 or more and strategy.alpha, strategy.beta of 0 or more, "
                f"got {self.size}, {self.batch}, {self.alpha}, {self.beta}"
            )

    def rule(self, member: Member, stage: Stage) -> Rule:
        return _Rule(member, stage, self)


class _Rule(Rule):
    """Memory: "places" (m, 2), task and row of each, and "logits" (m, outputs), NaN where there was no output yet."""

    def __init__(self, member: Member, stage: Stage, of: DER) -> None:
        super().__init__(member, stage)
        self.of, self.known = of, stage.memory
        self.places: list[list[int]] = self.known["places"].tolist() if self.known else []
        self.data = stage.encode([stage.tasks[task].train[row] for task, row in self.places]) if self.known else None

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        if self.data is None:
            return 0.0
        first, second = self._rows("answers"), self._rows("labels")
        now, _ = self.member.rehearse(self.data, first)
        then = self.known["logits"][first].to(now)
        there = then.isfinite()
        apart = torch.where(there, now[:, : then.shape[1]] - then.nan_to_num(), 0.0).square().sum(1) / there.sum(1)
        _, loss = self.member.rehearse(self.data, second)
        return self.of.alpha * apart.mean() + self.of.beta * loss

    def memory(self) -> Memory:
        places = held(self.stage.tasks, self.of.size, self.stage.seed)
        known = {tuple(place): logits for place, logits in zip(self.places, self.known.get("logits", ()), strict=True)}
        new = [place for place in places if place not in known]
        data = self.stage.encode([self.stage.tasks[task].train[row] for task, row in new])
        with torch.no_grad():
            said = [self.member.rehearse(data, rows)[0].cpu() for rows in torch.arange(len(new)).split(BATCH)]
        known |= dict(zip(new, torch.cat(said), strict=True)) if new else {}
        logits = torch.full((len(places), len(self.stage.task.labels)), float("nan"))
        for number, place in enumerate(places):
            logits[number, : len(known[place])] = known[place]
        return {"places": torch.tensor(places), "logits": logits}

    def _rows(self, which: str) -> Tensor:
        rng = generator(self.stage.seed, "memory", which, self.stage.task.name, str(self.member.steps))
        return torch.randperm(len(self.places), generator=rng)[: self.of.batch]
