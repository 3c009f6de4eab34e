"""A module that grows from task to task: what is new stands in front of what is old, which stays as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.method.base import Described
from continual.strategy.base import Rule, Stage

if TYPE_CHECKING:
    from continual.member import Member, Own

Axes = Mapping[str, int]
"""The parameters of a method that grow, and along which axis; the others are the fresh module's."""


class Old(NamedTuple):
    """The old part of a parameter: where it begins along its axis, and what it was."""

    axis: int
    start: int
    value: Tensor

    def of(self, tensor: Tensor) -> Tensor:
        """The same part of the parameter, or of its gradient, as it is now."""
        return tensor.narrow(self.axis, self.start, self.value.shape[self.axis])

    def new(self, tensor: Tensor) -> Tensor:
        return tensor.narrow(self.axis, 0, self.start)


def in_front(fresh: Adapter, newest: Adapter, method: Described, axes: Axes) -> Adapter:
    """The module of ``method`` whose parameters are the fresh ones, and behind them those of the newest module."""
    params = {
        address: {
            name: torch.cat([tensor, newest.params[address][name]], axes[name]) if name in axes else tensor
            for name, tensor in own.items()
        }
        for address, own in fresh.params.items()
    }
    return Adapter(method, params)


class Held(Rule):
    """Trains what is new of a module that began ``in_front`` of the newest one.

    The gradient of the old part is zero before the norm is clipped; after the step its values are put back, bit by
    bit, for AdamW's decay moves what has no gradient too.

    old  {name of the parameter: its old part}
    """

    def __init__(self, member: Member, stage: Stage, axes: Axes) -> None:
        super().__init__(member, stage)
        before = {} if stage.newest is None else stage.newest.params
        begun = member.request.adapters[0].params
        self.old: dict[str, Old] = {}
        for own in member.parameters():
            address, _, name = own.name.removeprefix("module/").rpartition("/")
            if address in before and name in axes:
                value, axis = before[address][name].to(own.value), axes[name]
                self.old[own.name] = Old(axis, begun[address][name].shape[axis] - value.shape[axis], value)

    def grown(self) -> list[tuple[Own, Old]]:
        """The member's parameters that have an old part."""
        return [(own, self.old[own.name]) for own in self.member.parameters() if own.name in self.old]

    def gradients(self) -> None:
        for own, old in self.grown():
            if own.gradient is not None:
                old.of(own.gradient).zero_()

    @torch.no_grad()
    def stepped(self) -> None:
        for own, old in self.grown():
            old.of(own.value).copy_(old.value)

    def held(self) -> int:
        return sum(old.value.numel() for old in self.old.values())
