"""The heads of several members on one encoder: one stack per kind of head, each row answered by its member's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import vmap

from continual.blocks import Blocks
from continual.head.base import COMMON, Head
from continual.method.base import Params
from continual.types import States


@dataclass(frozen=True)
class Answer:
    """Logits (u, C) or (u, T, C) of the u units (``rows``: indices into the batch) whose heads are of one kind."""

    head: Head
    rows: Tensor
    logits: Tensor


class HeadBank(nn.Module):
    """Loops run over kinds of heads, never over members. Narrower heads are padded; padded labels get logit -inf."""

    def __init__(self, heads: Sequence[tuple[Head, Params]], *, train: Collection[int] = ()) -> None:
        super().__init__()
        kinds: dict[object, list[int]] = {}
        for index, (head, params) in enumerate(heads):
            common = tuple((name, params[name].shape) for name in sorted(COMMON & params.keys()))
            kinds.setdefault((head.path(), common, index in train), []).append(index)
        self.count = len(heads)
        self.groups = nn.ModuleList(
            _Kind(owners, [heads[i] for i in owners], len(heads), owners[0] in train) for owners in kinds.values()
        )

    def forward(self, states: States, member: Tensor | None = None, blocks: Blocks | None = None) -> list[Answer]:
        """The states of U units and their (U,) members -> one answer per kind of head."""
        if member is None:
            member = torch.zeros(len(states.pooled), dtype=torch.long, device=states.pooled.device)
        answers = []
        for kind in self._kinds():
            slot = kind.slot[member]
            if len(self.groups) == 1:  # all rows: nothing to pick, nothing to put back in the backward pass
                answers.append(
                    Answer(kind.head, torch.arange(len(member), device=member.device), kind(states, slot, blocks))
                )
                continue
            rows = (slot >= 0).nonzero()[:, 0]
            answers.append(Answer(kind.head, rows, kind(States(*(t[rows] for t in states)), slot[rows])))
        return answers

    def take(self, n: int = 0) -> Params:
        """A detached copy of the n-th head, without padding. Raises IndexError where there is none."""
        for kind in self._kinds():
            if n in kind.owners:
                return kind.take(kind.owners.index(n))
        raise IndexError(n)

    def slices(self) -> Iterator[tuple[nn.Parameter, tuple[int, ...]]]:
        """Each trainable parameter, and the member that owns each slot of its first axis."""
        for kind in self._kinds():
            for parameter in kind.stack.values():
                if parameter.requires_grad:
                    yield parameter, kind.owners

    def _kinds(self) -> Iterator[_Kind]:
        for kind in self.groups:
            assert isinstance(kind, _Kind)
            yield kind


class _Kind(nn.Module):
    slot: Tensor
    wide: Tensor

    def __init__(self, owners: list[int], heads: list[tuple[Head, Params]], count: int, train: bool) -> None:
        super().__init__()
        self.owners, self.head = tuple(owners), heads[0][0]
        self.sizes = [len(next(t for name, t in p.items() if name not in COMMON)) for _, p in heads]
        widest = max(self.sizes)
        made: dict[str, nn.Parameter] = {}
        for name in heads[0][1]:
            own = [p[name] if name in COMMON else _pad(p[name], widest) for _, p in heads]
            made[name] = nn.Parameter(torch.stack(own), requires_grad=train and name not in COMMON)
        self.stack = nn.ParameterDict(made)  # which sorts the names
        slot = torch.full((count,), -1)
        slot[owners] = torch.arange(len(owners))
        self.register_buffer("slot", slot, persistent=False)
        self.register_buffer("wide", torch.arange(widest) < torch.tensor(self.sizes)[:, None], persistent=False)

    def forward(self, states: States, slot: Tensor, blocks: Blocks | None = None) -> Tensor:
        read = states.pooled if self.head.reads == "pooled" else states.tokens
        if len(self.owners) == 1:
            return self.head.logits({name: t.squeeze(0) for name, t in self.stack.items()}, read, states.mask)
        if blocks is not None and self.head.reads == "pooled":
            own = dict(self.stack.items())
            logits = blocks.apply(lambda p, of: self.head.logits(p, of, of), own, read)  # such a head reads no mask
        else:
            logits = vmap(self.head.logits)({name: t[slot] for name, t in self.stack.items()}, read, states.mask)
        wide = self.wide[slot] if logits.dim() == 2 else self.wide[slot][:, None, :]
        return logits.masked_fill(~wide, float("-inf"))

    def take(self, slot: int) -> Params:
        size = self.sizes[slot]
        own = {name: t[slot] if name in COMMON else t[slot, :size] for name, t in self.stack.items()}
        return {name: t.detach().cpu().clone() for name, t in own.items()}


def _pad(tensor: Tensor, size: int) -> Tensor:
    padded = tensor.new_zeros(size, *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    return padded
