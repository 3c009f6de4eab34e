"""A site: the place where adapters change one layer of the frozen encoder, and the three ways in which they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from continual.adapter import Adapter, Piece
from continual.blocks import Blocks
from continual.encoder.arch import Place
from continual.encoder.fit import require_fit
from continual.encoder.group import Group, path_of
from continual.encoder.noise import keep
from continual.encoder.parts import Parts
from continual.types import Shape


@dataclass
class Route:
    """What one forward of the whole encoder tells all its sites."""

    mask: Tensor | None = None
    member: Tensor | None = None
    blocks: Blocks | None = None
    noise: Tensor | None = None  # (B,) key of each row's dropout; None: no dropout
    low: torch.dtype | None = None  # of the encoder, where what acts at sites has to take care of products itself


class Holder(nn.Module):
    """Something with an address that adapters are loaded into."""

    def __init__(self, address: str, shape: Shape, route: Route) -> None:
        super().__init__()
        self.address, self.shape, self.route = address, shape, route
        self.mixer: nn.Module | None = None
        self.gated = False
        self.groups = nn.ModuleList()
        # The same groups as what they are. Asked in every forward of every site, where a module's attributes are slow.
        self.stacks: tuple[Group, ...] = ()

    @property
    def members(self) -> tuple[int, ...]:
        """The loaded adapters that act here, in the order in which a mixer sees them."""
        return tuple(owner for group in self.stacks for owner in group.owners)

    def load(self, adapters: Sequence[Adapter], train: Callable[[int], bool]) -> None:
        """Stack what these adapters have at this address. A mixer that was there is none for these: it goes."""
        self.mixer = None
        found: dict[object, list[tuple[int, Piece]]] = {}
        fitting = set()  # one of many alike says it of all
        for index, adapter in enumerate(adapters):
            for piece in adapter.pieces(self.address):
                form = piece.method.path(), tuple((name, tensor.shape) for name, tensor in piece.params.items())
                if form not in fitting:
                    require_fit(piece, self.address, self.shape)
                    fitting.add(form)
                found.setdefault(path_of(piece, train(index)), []).append((index, piece))
        self._hold(
            tuple(
                Group([index for index, _ in held], [piece for _, piece in held], len(adapters), train(held[0][0]))
                for held in found.values()
            )
        )

    def add(self, index: int, adapter: Adapter) -> bool:
        """Take in what one more adapter, the next, has at this address; False where there is no free slot for it."""
        pieces = {path_of(piece, False): piece for piece in adapter.pieces(self.address)}
        for piece in pieces.values():
            require_fit(piece, self.address, self.shape)
        if not all(group.add(index, pieces.pop(group.path, None)) for group in self.stacks):
            return False
        if pieces:
            new = (Group([index], [piece], index + 1, False) for piece in pieces.values())
            self._hold((*self.stacks, *new))
        return True

    def _hold(self, stacks: tuple[Group, ...]) -> None:
        self.stacks, self.groups = stacks, nn.ModuleList(stacks)
        self.gated = any(group.gates for group in self.stacks)


class Site(Holder):
    """Hooks on one frozen module. Empty, it changes nothing."""

    def __init__(self, address: str, place: Place, shape: Shape, route: Route, number: int) -> None:
        super().__init__(address, shape, route)
        self.place, self.number = place, number
        self._noted: Tensor | None = None

    def attach(self, layer: nn.Module) -> list[RemovableHandle]:
        """To the layer's modules, for good: a hook added after the first compiled call would silently be ignored."""
        place, module = self.place, layer.get_submodule(self.place.path)
        if place.how == "input":
            return [module.register_forward_pre_hook(self.before)]
        handles = [module.register_forward_hook(self)]
        if place.reads:
            handles.append(layer.get_submodule(place.reads).register_forward_pre_hook(self._note))
        if place.only:
            whole = layer.get_submodule(place.only)
            handles.append(whole.register_forward_pre_hook(self._note))
            handles.append(whole.register_forward_hook(self._forget))
        return handles

    def before(self, base: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Torch calls this before the frozen module of an "input" site."""
        if not self.stacks:
            return None
        return (self.added(args[0], args[0], args[0]), *args[1:])

    def forward(self, base: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor | None:
        """Torch calls this after the frozen module ``base``: x -> y. None leaves y as it is."""
        if not self.stacks:
            return None
        x, (part, of) = args[0], self.place.part
        if self.place.only and x is not self._noted:
            return None
        if self.place.reads:
            assert self._noted is not None
            x, self._noted = self._noted, None
        if self.place.how == "norm":
            assert isinstance(base, nn.LayerNorm)
            return F.layer_norm(self.added(x, x, y), base.normalized_shape, base.weight, base.bias, base.eps)
        if of == 1:
            return self.added(y, x, y)
        pieces = list(y.chunk(of, -1))
        pieces[part] = self.added(pieces[part], x, pieces[part])
        return torch.cat(pieces, -1)

    def added(self, base: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """base + delta, as precise as base."""
        if self.route.low is None:
            return self._added(base, x, y)
        with torch.autocast(base.device.type, self.route.low):
            return self._added(base, x, y).to(base.dtype)

    def _added(self, base: Tensor, x: Tensor, y: Tensor) -> Tensor:
        if self.gated or self.mixer is not None or self.route.member is not None or self.route.noise is not None:
            return base + self.delta(x, y)
        for group in self.stacks:
            base = group.onto(base, x, y)
        return base

    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        """What is added, under one adapter, one per row, or a mix of all."""
        if self.mixer is not None:
            mask = self.route.mask if self.route.mask is not None else y.new_ones(y.shape[:2])
            return self.mixer(x, y, mask, Parts(self.stacks, x, y, mask))
        total = self._delta(self.stacks[0], x, y)
        for group in self.stacks[1:]:
            total = total + self._delta(group, x, y)
        return total

    def _delta(self, group: Group, x: Tensor, y: Tensor) -> Tensor:
        opening = group.opening(x, y, self.route.mask, self.route.member) if group.gates else None  # of what is whole
        if self.route.noise is not None and group.train_slots and group.method.dropout > 0:
            if group.method.reads == "x":
                x = x * keep(self.route.noise, x.shape, self.number, group.method.dropout).to(x)
            else:
                y = y * keep(self.route.noise, y.shape, self.number, group.method.dropout).to(y)
        member = self.route.member
        delta = group.single(x, y) if member is None else group.routed(x, y, member, self.route.blocks)
        return delta if opening is None else delta * opening.to(delta)

    def _note(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self.stacks:
            self._noted = args[0]

    def _forget(self, *_: Any) -> None:
        self._noted = None
