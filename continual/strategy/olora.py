"""O-LoRA: each task adds a LoRA of its own, in a subspace that is orthogonal to those of the earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.errors import ContinualError
from continual.held import Axes, Held, in_front
from continual.method import name_of
from continual.method.base import Described
from continual.method.lora import LoRA
from continual.strategy.base import Rule, Stage, Strategy

if TYPE_CHECKING:
    from continual.member import Member

AXES: Axes = {"a": 0, "b": 1}


@dataclass(frozen=True)
class OLoRA(Strategy):
    """Penalty λ Σ_sites Σ |A_t A_sᵀ| over the earlier tasks s < t, whose A_s and B_s stay bit by bit as they were.

    Wang et al. 2023, "Orthogonal subspace learning for language model continual learning". All tasks are answered by
    the sum of all LoRAs so far, which is one LoRA of rank t · r: A is [A_t; …; A_1], B is [B_t, …, B_1], and alpha
    grows with the rank, so that the scale stays. B_t starts at zero: a task starts from the function that the last one
    left. It is stored as that one LoRA, with ``method=lora``'s rank r in each task.

    The paper squares what is summed; their code sums absolute values, with λ = 0.5, and so does this. Their λ2, a
    norm of the new factors, is 0 by default there and left out here. No LoRA is orthogonal to the others any more once
    t · r is above a site's width. What the paper generates is answered by heads here.
    """

    strength: float = 0.5

    shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise ContinualError(f"expected strategy.strength of 0 or more, got {self.strength}")

    def check(self, method: Described) -> None:
        """Raises ContinualError for another method than LoRA."""
        if not isinstance(method, LoRA):
            raise ContinualError(
                "strategy=olora adds a LoRA with each task: expected method=lora, "
                f"got method={name_of(method)}; choose method=lora, or another strategy"
            )

    def start(self, fresh: Adapter, stage: Stage) -> Adapter:
        newest = stage.newest
        if newest is None:
            return fresh
        method, before = fresh.method, newest.method
        assert isinstance(method, LoRA)
        assert isinstance(before, LoRA)
        rank = method.rank + before.rank
        times = rank / method.rank
        alpha = method.alpha * (times**0.5 if method.rank_stabilized else times)
        return in_front(fresh, newest, replace(method, rank=rank, alpha=alpha), AXES)

    def rule(self, member: Member, stage: Stage) -> Rule:
        return _Rule(member, stage, self)


class _Rule(Held):
    def __init__(self, member: Member, stage: Stage, of: OLoRA) -> None:
        super().__init__(member, stage, AXES)
        self.of = of

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        shared = [
            (old.new(own.value) @ old.value.T).abs().sum() for own, old in self.grown() if own.name.endswith("/a")
        ]
        return self.of.strength * torch.stack(shared).sum() if shared else 0.0
