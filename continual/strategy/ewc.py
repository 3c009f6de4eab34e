"""Elastic weight consolidation: what mattered to earlier tasks moves little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from continual.adapter import generator
from continual.errors import ContinualError
from continual.strategy.base import Memory, Rule, Stage, Strategy

if TYPE_CHECKING:
    from continual.member import Member


@dataclass(frozen=True)
class EWC(Strategy):
    """Penalty λ/2 Σ_i F_i (θ_i − θ*_i)², F the diagonal Fisher information of the tasks so far, θ* where they ended.

    Online EWC (Schwarz et al. 2018, eq. 9): one F, F ← γF + F_t, and one θ*, that of the last task. With ``online``
    false, Kirkpatrick et al. 2017, eq. 3: a term a task, each with its own F and θ*. F_t is the mean over ``samples``
    training rows of the squared gradient of −log p(y|x), y drawn from the model's own answers (Kunstner et al. 2019:
    the row's own label in place of y is not the Fisher information). θ are the module's parameters, and where one head
    answers all tasks its known outputs too; heads that stay per task are not trained again. A head that does not choose
    one class gives the row's own answer in place of y.

    A sum over tasks, λ and F have no common scale: try λ in powers of ten.
    """

    strength: float = 100.0
    online: bool = True
    decay: float = 1.0
    samples: int = 200

    shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.strength >= 0 or not 0 <= self.decay <= 1 or self.samples < 1:
            raise ContinualError(
                "expected strategy.strength of 0 or more, strategy.decay from 0 to 1, strategy.samples of 1 or more; "
                f"got {self.strength}, {self.decay}, {self.samples}"
            )

    def rule(self, member: Member, stage: Stage) -> Rule:
        return _Rule(member, stage, self)


class _Rule(Rule):
    """Memory: "<term>/fisher/<parameter>" and "<term>/anchor/<parameter>"; online there is term 0 alone."""

    def __init__(self, member: Member, stage: Stage, of: EWC) -> None:
        super().__init__(member, stage)
        self.of = of
        self.known = self.remembered()
        self.terms = len({name.split("/")[0] for name in self.known})

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        total: Tensor | float = 0.0
        for own in self.member.parameters():
            for term in range(self.terms):
                if (fisher := self.known.get(f"{term}/fisher/{own.name}")) is not None:
                    moved = known_part(own.value, fisher) - self.known[f"{term}/anchor/{own.name}"]
                    total = total + (fisher * moved.square()).sum()
        return self.of.strength / 2 * total

    def memory(self) -> Memory:
        fishers, term = self._fishers(), 0 if self.of.online else self.terms
        memory = {} if self.of.online else dict(self.known)
        for own in self.going():
            fisher = fishers[own.name]
            if self.of.online and (old := self.known.get(f"0/fisher/{own.name}")) is not None:
                known_part(fisher, old).add_(old, alpha=self.of.decay)
            memory[f"{term}/fisher/{own.name}"] = fisher
            memory[f"{term}/anchor/{own.name}"] = own.value.detach().clone()
        return memory

    def _fishers(self) -> Memory:
        """The diagonal of this task's Fisher information, by the names of the parameters that go on to the next."""
        task, member = self.stage.task, self.member
        rng = generator(self.stage.seed, "fisher", task.name)
        rows = [task.train[i] for i in torch.randperm(len(task.train), generator=rng)[: self.of.samples].tolist()]
        total = [torch.zeros_like(own.value) for own in member.parameters()]
        for row in rows:
            if task.head == "classify":
                with torch.no_grad():
                    logits, _ = member.rehearse(self.stage.encode([row]), [0])
                said = torch.multinomial(logits[0].float().softmax(0).cpu(), 1, generator=rng)
                row = row._replace(label=int(said))
            _, loss = member.rehearse(self.stage.encode([row]), [0])
            for square, gradient in zip(total, member.gradients_of(loss), strict=True):
                if gradient is not None:
                    square += gradient.square()
        found = dict(zip((own.name for own in member.parameters()), total, strict=True))
        return {own.name: found[own.name] / len(rows) for own in self.going()}


def known_part(tensor: Tensor, known: Tensor) -> Tensor:
    """A head has grown since: what is known of it is its first outputs."""
    return tensor[: len(known)] if known.dim() else tensor
