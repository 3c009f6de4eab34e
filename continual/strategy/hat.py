"""Hard attention to the task: one set of weights for all tasks, of which each task opens units of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.encoder.group import Group
from continual.errors import ContinualError
from continual.method import hat, name_of
from continual.method.base import Described
from continual.strategy.base import Rule, Stage, Strategy

if TYPE_CHECKING:
    from continual.member import Member, Own

STEEPEST, FARTHEST = 50.0, 6.0
"""Bounds of s · e in the compensation, and of e after a step: the reference code's, against overflow."""


@dataclass(frozen=True)
class HAT(Strategy):
    """Serrà et al. 2018, on the units in the middle of an adapter (``method=hat``), as Ke et al. 2021 did on BERT.

    A task goes on with the last module's weights and gets an embedding e of its own. With A = max over earlier tasks
    of σ(s_max · e), what each unit of a site is already needed for:

    - s = 1/s_max + (s_max − 1/s_max) (b − 1)/(B − 1) in batch b of the B of an epoch (§2.4); s_max between steps, so
      that what is validated and stored has gates as they will be
    - the gradient of row j of D, of d_j and of column j of U is multiplied by 1 − A_j (§2.3). There the smaller of the
      masks of a weight's two ends counts; here one end is the frozen encoder's and has none
    - the gradient of e is multiplied by (cosh(s e) + 1) / (s (cosh(e) + 1)), which undoes the annealing (§2.5)
    - the loss has ``strength`` · Σ a (1 − A) / Σ (1 − A) over the units of all sites, so that a task opens few (§2.6)

    The reference trains by plain SGD, whose step is the masked gradient. AdamW divides a gradient by its own size,
    which undoes a constant factor, and decays weights that have none. So the step itself, decay included, is multiplied
    by 1 − A too: a fully needed unit stays bit by bit, a partly needed one moves by its share. For the same reason the
    compensation is without its constant s_max: it would only give the clipped norm to the embeddings alone.

    Every task is answered by its own stored module. They hold the embeddings of all tasks, so nothing else is
    remembered; and since weights that an open gate of theirs reads have not moved, the last one's weights with an
    earlier task's embedding answer as that task's own module does.
    """

    s_max: float = 400.0
    strength: float = 0.75

    def __post_init__(self) -> None:
        if not self.s_max > 1 or not self.strength >= 0:
            raise ContinualError(
                f"expected strategy.s_max above 1 and strategy.strength of 0 or more, got {self.s_max}, {self.strength}"
            )

    def check(self, method: Described) -> None:
        """Raises ContinualError for a method without gates."""
        if not isinstance(method, hat.HAT):
            raise ContinualError(
                "strategy=hat opens and closes units of a module that has gates: expected method=hat, "
                f"got method={name_of(method)}; choose method=hat, or another strategy"
            )

    def start(self, fresh: Adapter, stage: Stage) -> Adapter:
        if stage.newest is None:
            return fresh
        own = {address: {"embedding": params["embedding"]} for address, params in fresh.params.items()}
        return Adapter(fresh.method, {a: params | own[a] for a, params in stage.newest.params.items()})

    def rule(self, member: Member, stage: Stage) -> Rule:
        return _Rule(member, stage, self)


class _Rule(Rule):
    """free  {address of a site: (rank,) 1 − A}."""

    def __init__(self, member: Member, stage: Stage, of: HAT) -> None:
        super().__init__(member, stage)
        self.of = of
        self.s = of.s_max
        self.sharpness = [
            group.stack["sharpness"].detach()[group.owners.index(member.index)]
            for group in member.learner.model.modules()
            if isinstance(group, Group) and member.index in group.owners
        ]
        self.free: dict[str, Tensor] = {}
        for own in member.parameters():
            address, name = _place(own)
            if name == "embedding":
                past = [adapter.params[address][name].to(own.value) for adapter in stage.past if adapter is not None]
                needed = [torch.sigmoid(of.s_max * embedding) for embedding in past]
                self.free[address] = 1 - torch.stack([torch.zeros_like(own.value), *needed]).detach().amax(0)
        self.left: dict[str, Tensor] = {}

    def ready(self) -> None:
        batch, batches = self.member.steps % self.member.per_epoch, self.member.per_epoch
        lowest = 1 / self.of.s_max
        self._sharpen(lowest + (self.of.s_max - lowest) * batch / max(batches - 1, 1))

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        opened, free = [], []
        for own in self.member.parameters():
            address, name = _place(own)
            if name == "embedding":
                opened.append((torch.sigmoid(self.s * own.value) * self.free[address]).sum())
                free.append(self.free[address].sum())
        # Where no unit is free the sum above is zero too: there is nothing left to save.
        return self.of.strength * torch.stack(opened).sum() / torch.stack(free).sum().clamp_min(1e-6)

    def gradients(self) -> None:
        self.left = {}
        for own in self.member.parameters():
            address, name = _place(own)
            if own.gradient is None or address not in self.free:
                continue
            if name == "embedding":
                e = own.value.detach()
                steep = (self.s * e).clamp(-STEEPEST, STEEPEST)
                own.gradient.mul_((steep.cosh() + 1) / (self.s * (e.cosh() + 1)))
            else:
                self.left[own.name] = own.value.detach().clone()
                own.gradient.mul_(self._share(own))

    @torch.no_grad()
    def stepped(self) -> None:
        for own in self.member.parameters():
            if (left := self.left.get(own.name)) is not None:
                own.value.copy_(left.lerp(own.value, self._share(own).expand_as(left)))  # exact where it is 0 or 1
            elif _place(own)[1] == "embedding":
                own.value.clamp_(-FARTHEST, FARTHEST)
        self._sharpen(self.of.s_max)

    def _share(self, own: Own) -> Tensor:
        """Of which part of a parameter may move: by rows of D and d, by columns of U."""
        address, name = _place(own)
        free = self.free[address]
        return free[:, None] if name == "down" else free

    def _sharpen(self, s: float) -> None:
        self.s = s
        for sharpness in self.sharpness:
            sharpness.fill_(s)


def _place(own: Own) -> tuple[str, str]:
    """Address and name of a module's parameter; of a head's, an address where no module is."""
    kind, _, rest = own.name.partition("/")
    address, _, name = rest.rpartition("/")
    return (address, name) if kind == "module" else (kind, name)
