"""A site: the place where adapters change one layer of the frozen encoder, and the three ways in which they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from continual.adapter import Adapter
from continual.encoder.arch import Place
from continual.encoder.noise import keep
from continual.method.base import LowRank, Method, Params
from continual.types import Shape


@dataclass
class Route:
    """What one forward of the whole encoder tells all its sites."""

    mask: Tensor | None = None
    member: Tensor | None = None
    noise: Tensor | None = None  # (B,) key of each row's dropout; None: no dropout


class Group(nn.Module):
    """Adapters that run the same code, their parameters stacked; one slot each, frozen or trainable as a whole.

    Unequal ranks are zero-padded to the widest, which is exact for every method (see its file), also in training: a
    padded row of A meets a padded column of B, so its gradient is zero.
    """

    slot: Tensor

    def __init__(
        self, owners: Sequence[int], members: Sequence[Adapter], address: str, count: int, train: bool
    ) -> None:
        super().__init__()
        self.method: Method = members[0].method  # type: ignore[assignment]
        self.owners = tuple(owners)
        self.train_slots = train
        params = [adapter.params[address] for adapter in members]
        self.shapes = [{name: tensor.shape for name, tensor in p.items()} for p in params]
        self.stack = nn.ParameterDict(
            {
                name: nn.Parameter(_stack([p[name] for p in params]), train and name not in self.method.fixed)
                for name in params[0]
            }
        )
        slot = torch.full((count,), -1)
        slot[list(owners)] = torch.arange(len(owners))
        self.register_buffer("slot", slot, persistent=False)

    def params(self, slot: int | Tensor) -> Params:
        return {name: tensor[slot] for name, tensor in self.stack.items()}

    def take(self, slot: int) -> Params:
        """A detached copy of one slot, without its padding."""
        return {
            name: tensor[slot][tuple(slice(size) for size in self.shapes[slot][name])].detach().cpu().clone()
            for name, tensor in self.stack.items()
        }

    def single(self, x: Tensor, y: Tensor) -> Tensor:
        return self.method.delta(self.params(0), x, y)

    def routed(self, x: Tensor, y: Tensor, member: Tensor) -> Tensor:
        """Each row with its own slot; a row whose member is not in this group gets delta 0."""
        slot = self.slot[member]
        if len(self.owners) == len(self.slot):
            return vmap(self.method.delta)(self.params(slot), x, y)
        # Rows of absent members pass through slot 0: as zeros, for a NaN of theirs would reach that slot's gradient.
        here = (slot >= 0)[:, None, None]
        x, y = torch.where(here, x, 0.0), torch.where(here, y, 0.0)
        return torch.where(here, vmap(self.method.delta)(self.params(slot.clamp_min(0)), x, y), 0.0)


class Parts:
    """What a mixer sees of a site: N deltas, of which it may ask two things without their ever being formed.

    ``dot(q)`` and ``mix(w)`` run in rank space where the group is low-rank: with delta_n = U_n a_n + b_n,
    q · delta_n = (U_nᵀ q) · a_n + q · b_n and Σ w_n delta_n = Σ U_n (w_n a_n) + Σ w_n b_n, exactly.
    """

    def __init__(self, groups: Sequence[Group], x: Tensor, y: Tensor) -> None:
        self.groups, self.x, self.y = groups, x, y
        self._values = [self._value(group) for group in groups]

    @property
    def reads(self) -> list[tuple[Tensor, int]]:
        """For each group what its method reads, (B, T, d_in) or (B, T, d_out), and how many members it has."""
        return [(self.x if g.method.reads == "x" else self.y, len(g.owners)) for g in self.groups]

    def deltas(self) -> Tensor:
        """(N, B, T, d_out), the members in the site's order."""
        return torch.cat([_deltas(g, self.x, self.y) for g in self.groups])

    def dot(self, q: Tensor) -> Tensor:
        """(B, T, d_out) -> (B, T, N), the inner product of q with each delta."""
        return torch.cat([value.dot(q) for value in self._values], -1)

    def mix(self, weights: Tensor) -> Tensor:
        """(B, T or 1, N) -> (B, T, d_out), the weighted sum of the deltas."""
        counts = [len(g.owners) for g in self.groups]
        pieces = zip(self._values, weights.split(counts, -1), strict=True)
        return torch.stack([value.mix(w) for value, w in pieces]).sum(0)

    def _value(self, group: Group) -> _Codes | _Deltas:
        if isinstance(group.method, LowRank):
            return _Codes(group, group.method, self.x, self.y)
        return _Deltas(_deltas(group, self.x, self.y))


class _Deltas:
    def __init__(self, deltas: Tensor) -> None:
        self.deltas = deltas

    def dot(self, q: Tensor) -> Tensor:
        return torch.einsum("btd,nbtd->btn", q, self.deltas)

    def mix(self, weights: Tensor) -> Tensor:
        return torch.einsum("btn,nbtd->btd", weights.expand(*self.deltas.shape[1:3], -1), self.deltas)


class _Codes:
    """The same for low-rank groups: one matmul for all codes, none for keys and values."""

    def __init__(self, group: Group, method: LowRank, x: Tensor, y: Tensor) -> None:
        n = len(group.owners)
        wide = {name: group.stack[name].flatten(0, 1) for name in method.coded}
        self.codes = method.code(wide, x, y).unflatten(-1, (n, -1))  # (B, T, N, r)
        self.up, self.bias = (
            vmap(method.up)(dict(group.stack.items()))
            if _biased(group, method)
            else (
                vmap(lambda p: method.up(p)[0])(dict(group.stack.items())),
                None,
            )
        )

    def dot(self, q: Tensor) -> Tensor:
        wide = self.up.transpose(1, 2).flatten(0, 1)  # (N·r, d)
        dots = (F.linear(q, wide).unflatten(-1, self.codes.shape[-2:]) * self.codes).sum(-1)
        return dots if self.bias is None else dots + F.linear(q, self.bias)

    def mix(self, weights: Tensor) -> Tensor:
        wide = self.up.transpose(0, 1).flatten(1, 2)  # (d, N·r)
        mixed = F.linear((self.codes * weights[..., None]).flatten(-2), wide)
        return mixed if self.bias is None else mixed + F.linear(weights, self.bias.T)


def _biased(group: Group, method: LowRank) -> bool:
    return method.up(group.params(0))[1] is not None


def _deltas(group: Group, x: Tensor, y: Tensor) -> Tensor:
    return vmap(group.method.delta, in_dims=(0, None, None))(dict(group.stack.items()), x, y)


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    size = [max(t.shape[axis] for t in tensors) for axis in range(tensors[0].dim())]
    stacked = tensors[0].new_zeros(len(tensors), *size)
    for slot, tensor in enumerate(tensors):
        stacked[slot][tuple(slice(n) for n in tensor.shape)] = tensor
    return stacked


class Site(nn.Module):
    """A forward hook on one frozen module. Empty, it changes nothing."""

    def __init__(self, address: str, place: Place, shape: Shape, route: Route, number: int) -> None:
        super().__init__()
        self.address, self.place, self.shape, self.route, self.number = address, place, shape, route, number
        self.groups = nn.ModuleList()
        self.mixer: nn.Module | None = None

    @property
    def stacks(self) -> list[Group]:
        """The groups, as what they are."""
        return cast("list[Group]", list(self.groups))

    @property
    def members(self) -> tuple[int, ...]:
        """The loaded adapters that act here, in the order in which a mixer sees them."""
        return tuple(owner for group in self.stacks for owner in group.owners)

    def load(self, adapters: Sequence[Adapter], train: Callable[[int], bool]) -> None:
        """Stack what these adapters have at this site."""
        self.mixer = None
        found: dict[object, list[int]] = {}
        for index, adapter in enumerate(adapters):
            if self.address in adapter.params:
                found.setdefault((adapter.method.path(), train(index)), []).append(index)
        self.groups = nn.ModuleList(
            Group(owners, [adapters[i] for i in owners], self.address, len(adapters), train(owners[0]))
            for owners in found.values()
        )

    def forward(self, base: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor | None:
        """Torch calls this after the frozen module ``base``: x -> y. None leaves y as it is."""
        if not len(self.groups):
            return None
        x = args[0]
        if self.mixer is not None:
            delta = self.mixer(x, y, self.route.mask, Parts(self.stacks, x, y))
        else:
            delta = torch.stack([self._delta(group, x, y) for group in self.stacks]).sum(0)
        if self.place.how == "add":
            return y + delta
        assert isinstance(base, nn.LayerNorm)
        return F.layer_norm(x + delta, base.normalized_shape, base.weight, base.bias, base.eps)

    def _delta(self, group: Group, x: Tensor, y: Tensor) -> Tensor:
        if self.route.noise is not None and group.train_slots and group.method.dropout > 0:
            if group.method.reads == "x":
                x = x * keep(self.route.noise, x.shape, self.number, group.method.dropout).to(x)
            else:
                y = y * keep(self.route.noise, y.shape, self.number, group.method.dropout).to(y)
        if self.route.member is None:
            return group.single(x, y)
        return group.routed(x, y, self.route.member)
