"""Adapters that run the same code at one site: their parameters stacked, one slot each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import vmap

from continual import gate
from continual.adapter import Piece
from continual.blocks import Blocks
from continual.encoder import wide
from continual.method.base import Described, Fused, LowRank, Method, Params

ROOM = 8
"""Frozen stacks have one free slot for so many that are taken."""


class Group(nn.Module):
    """One slot an adapter, frozen or trainable as a whole.

    Unequal ranks are zero-padded to the widest, which is exact for every method (see its file), also in training: a
    padded row of A meets a padded column of B, so its gradient is zero.

    owners  the adapters that have a slot, by their number among those that are loaded
    slot    (N,) the slot of each loaded adapter; -1 for those that are absent here
    sizes   (slots,) columns of a prefix, vectors of a prompt: the axis that a method calls ``sized``, without padding
    gates   how many gates each adapter has here; their parameters are in the stack beside the method's
    """

    slot: Tensor
    sizes: Tensor

    def __init__(self, owners: Sequence[int], pieces: Sequence[Piece], count: int, train: bool) -> None:
        super().__init__()
        self.method: Described = pieces[0].method
        self.part = pieces[0].part
        self.owners = tuple(owners)
        self.path = path_of(pieces[0], train)
        self.train_slots = train
        self.gates = gate.count(pieces[0].params)
        self._low, self._fused = isinstance(self.method, LowRank), isinstance(self.method, Fused)
        params = [piece.params for piece in pieces]
        self.shapes = [{name: tensor.shape for name, tensor in p.items()} for p in params]
        room = 0 if train else len(pieces) // ROOM
        self._room = {name: _stack([p[name] for p in params], room) for name in params[0]}  # with slots that are free
        self.stack = nn.ParameterDict(
            {
                name: nn.Parameter(tensor[: len(pieces)], train and name not in self.method.fixed)
                for name, tensor in self._room.items()
            }
        )
        slot = torch.full((count,), -1)
        slot[list(owners)] = torch.arange(len(owners))
        self.register_buffer("slot", slot, persistent=False)
        self.register_buffer("sizes", torch.tensor([self._size(shape) for shape in self.shapes]), persistent=False)
        self._widened: tuple[str, ...] = ()
        self._cast: wide.Wide | None = None
        self._ready: tuple[object, Params] | None = None

    def _size(self, shape: Mapping[str, torch.Size]) -> int:
        sized = getattr(self.method, "sized", None)
        return shape[sized][0] if sized else 0

    def add(self, index: int, piece: Piece | None) -> bool:
        """A slot for what adapter ``index``, the next, has here; None: nothing. The others stay where they are.

        False where the stack cannot take it as it is: its slots learn, or are narrower.
        """
        shapes = {} if piece is None else {name: tensor.shape for name, tensor in piece.params.items()}
        fits = (
            own <= most for n, shape in shapes.items() for own, most in zip(shape, self.stack[n].shape[1:], strict=True)
        )
        if self.train_slots or self._widened or not all(fits):
            return False
        count = len(self.owners)
        self.slot = torch.cat([self.slot, self.slot.new_tensor([-1 if piece is None else count])])
        if piece is not None:
            for name, tensor in piece.params.items():
                room = self._free(name)
                room[count].zero_()[tuple(slice(size) for size in tensor.shape)] = tensor.to(room)
                self.stack[name] = nn.Parameter(room[: count + 1], requires_grad=False)
            self.owners += (index,)
            self.shapes.append(shapes)
            self.sizes = torch.cat([self.sizes, self.sizes.new_tensor([self._size(shapes)])])
        return True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Group:
        before = [tensor.data_ptr() for tensor in self.stack.values()]
        super()._apply(fn, recurse)
        if before != [tensor.data_ptr() for tensor in self.stack.values()]:
            self._ready = None  # it would stay where the group was, and be of no use
        self._room = {n: t for n, t in self._room.items() if t.data_ptr() == self.stack[n].data_ptr()}  # else it moved
        return self

    def _free(self, name: str) -> Tensor:
        """The stack of a name with a free slot at its end, made larger where there is none."""
        own, room = self.stack[name].detach(), self._room.get(name)
        if room is None or len(room) == len(own):
            room = own.new_empty(len(own) + max(1, len(own) // ROOM), *own.shape[1:])
            room[: len(own)] = own
            self._room[name] = room
        return room

    @property
    def low_rank(self) -> bool:
        return self._low  # a protocol's isinstance is too slow for an inner loop

    @property
    def _method(self) -> Method:
        return cast(Method, self.method)  # not checked: these are inner loops, and compiled

    def only(self) -> Params:
        """Of the first slot; of a lone one as views, whose gradients need no copy."""
        if len(self.owners) == 1:
            return {name: tensor.squeeze(0) for name, tensor in self.stack.items()}
        return {name: tensor[0] for name, tensor in self.stack.items()}

    def every(self) -> Params:
        """All slots: each tensor with its leading axis."""
        return dict(self.stack.items())

    def widen(self) -> None:
        """Make ``wide`` of frozen slots once, and keep it: as buffers, so that it goes where the group goes."""
        if self._low and not self.train_slots:
            made = wide.widened(cast(LowRank, self.method), self.every()).tensors()
            for name, tensor in made.items():
                self.register_buffer(f"wide_{name}", tensor.detach(), persistent=False)
            self._widened = tuple(made)

    def wide(self) -> wide.Wide:
        """All slots side by side, of a low-rank method; under autocast, frozen ones in its precision."""
        if not self._widened:
            return wide.widened(cast(LowRank, self.method), self.every())
        tensors = {name: cast(Tensor, self._buffers[f"wide_{name}"]) for name in self._widened}
        made = wide.named(cast(LowRank, self.method), tensors)
        device = made.up.device.type
        if not torch.is_autocast_enabled(device):
            return made
        dtype = torch.get_autocast_dtype(device)  # it would cast what is frozen again in every product
        if self._cast is None or self._cast.up.dtype != dtype or self._cast.up.device != made.up.device:
            self._cast = made.to(dtype)
        return self._cast

    def take(self, slot: int) -> Params:
        """A detached copy of one slot, without its padding."""
        return {
            name: tensor[slot][tuple(slice(size) for size in self.shapes[slot][name])].detach().cpu().clone()
            for name, tensor in self.stack.items()
        }

    def single(self, x: Tensor, y: Tensor) -> Tensor:
        return self._method.delta(self.only(), x, y)

    def onto(self, base: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """base + delta of a lone adapter; where the method is low-rank its last product adds in passing."""
        p = self.only()
        if self._fused and base.dtype == y.dtype:
            return cast(Fused, self.method).onto(p, base, x, y)
        if self._low and not torch.is_autocast_enabled(base.device.type):
            method = cast(LowRank, self.method)
            up, bias = method.up(p)
            total = torch.addmm(base.flatten(0, -2), method.code(p, x, y).flatten(0, -2), up.T).view_as(base)
            return total if bias is None else total + bias
        return base + self._method.delta(p, x, y)

    def routed(self, x: Tensor, y: Tensor, member: Tensor, blocks: Blocks | None = None) -> Tensor:
        """Each row with its own slot; a row whose member is not in this group gets delta 0."""
        delta, stack = self._routed(y.device.type)
        whole = len(self.owners) == len(self.slot)
        if blocks is not None and whole:
            return blocks.apply(delta, stack, x, y)
        slot = self.slot[member]
        if whole:
            return vmap(delta)({name: tensor[slot] for name, tensor in stack.items()}, x, y)
        # Rows of absent members pass through slot 0: as zeros, for a NaN of theirs would reach that slot's gradient.
        here, slot = (slot >= 0)[:, None, None], slot.clamp_min(0)
        x, y = torch.where(here, x, 0.0), torch.where(here, y, 0.0)
        own = {name: tensor[slot] for name, tensor in stack.items()}
        return torch.where(here, vmap(delta)(own, x, y), 0.0)

    def _routed(self, device: str) -> tuple[Callable[[Params, Tensor, Tensor], Tensor], Params]:
        """How a slot makes its delta, and all slots; of a low-rank method in the precision of its products.

        In ``vmap`` autocast forgets the bias. Frozen slots are made ready once: a batch in which each text has a module
        of its own reads all their numbers. A compiled graph makes them so each time: it can't look whether they moved.
        """
        if not self._low or not torch.is_autocast_enabled(device):
            return self._method.delta, self.every()
        dtype = torch.get_autocast_dtype(device)
        if self.train_slots or torch.compiler.is_compiling():
            return self._method.delta, {name: t.to(dtype) if t.dim() > 1 else t for name, t in self.stack.items()}
        method = cast(LowRank, self.method)
        stamp = (dtype, *((t.data_ptr(), t.is_inference() or t._version, t.shape) for t in self.stack.values()))
        if self._ready is None or self._ready[0] != stamp:
            self._ready = stamp, wide.ready(method, self.every(), dtype)
        return wide.delta(method), self._ready[1]

    def opening(self, x: Tensor, y: Tensor, mask: Tensor | None, member: Tensor | None) -> Tensor:
        """(B, 1, gates): how far the gates of a lone adapter, or of each row's own, are open."""
        read = x if self.method.reads == "x" else y
        if member is None:
            return gate.opening(self.only(), read, mask)[:, None]
        return gate.routed(self.every(), self.slot[member], read, mask)[:, None]

    def openings(self, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        """(B, 1, slots): of every slot, on the same input."""
        return gate.each(self.every(), x if self.method.reads == "x" else y, mask).transpose(1, 2)

    def deltas(self, x: Tensor, y: Tensor) -> Tensor:
        """(slots, B, T, d_out): of every slot, on the same input."""
        return vmap(self._method.delta, in_dims=(0, None, None))(self.every(), x, y)


def path_of(piece: Piece, train: bool) -> Hashable:
    """What is equal of all that can be in one group."""
    return piece.method.path(), piece.part, gate.count(piece.params), train


def _stack(tensors: Sequence[Tensor], room: int) -> Tensor:
    """(slots + room, …)"""
    if all(tensor.shape == tensors[0].shape for tensor in tensors):
        stacked = tensors[0].new_empty(len(tensors) + room, *tensors[0].shape)
        torch.stack([tensor.detach() for tensor in tensors], out=stacked[: len(tensors)])
        return stacked
    size = [max(t.shape[axis] for t in tensors) for axis in range(tensors[0].dim())]
    stacked = tensors[0].new_zeros(len(tensors) + room, *size)
    for slot, tensor in enumerate(tensors):
        stacked[slot][tuple(slice(n) for n in tensor.shape)] = tensor
    return stacked
