"""The steps of a group as a data loader's batches: step t is of every member that trains then its own next batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from continual.blocks import Blocks
from continual.head.base import Head
from continual.lanes import Lanes
from continual.member import Member
from continual.stream.joined import Joined
from continual.stream.units import collate, join
from continual.trunk import Below
from continual.types import Batch


class Turn(NamedTuple):
    """What a member does in a step of the group: a step of its own, on some of its rows."""

    member: Member
    step: int
    rows: Tensor


class Steps(Dataset[Batch]):
    """The batches of all members that train in a step, padded together.

    pooled, below  of each member what was computed before (``types.Batch``); None: nothing was
    even           batches have few shapes, so that what was captured of one serves many: each member has as many rows,
                   members are as many as in a power of two, a width is at most an eighth too wide. What fills them up
                   is not ``real``. Rows must be one unit each
    """

    def __init__(
        self, lanes: Lanes, pooled: Sequence[Tensor] | None, below: Sequence[Below] | None, even: bool = False
    ) -> None:
        self.lanes, self.pooled, self.below, self.even = lanes, pooled, below, even
        self.rows = max(min(m.request.recipe.batch_size, len(m.request.train)) for m in lanes.members)
        self.widest = max(int(member.request.train.lengths.max()) for member in lanes.members)
        # What was pooled before has been read: texts and pixels are put together for nobody.
        self.data = [m.request.train if pooled is None else m.request.train.read() for m in lanes.members]
        self.joined = Joined.of(self.data) if even else None

    def __len__(self) -> int:
        return self.lanes.steps

    def __getitem__(self, step: int) -> Batch:
        live = self.lanes.at(step) or [self.lanes.members[0]]
        own = [min(step - (m.start or 0), len(m.batches) - 1) for m in live]
        turns = [Turn(m, t, m.batches[t]) for m, t in zip(live, own, strict=True)]
        if not self.even:
            return self._batch(turns)
        more = self._lanes(len(turns)) - len(turns)
        real = torch.arange(self.rows) < torch.tensor([len(turn.rows) for turn in turns])[:, None]
        full = [turn._replace(rows=_filled(turn.rows, self.rows)) for turn in turns]
        batch = self._batch([*full, *full[:1] * more])
        batch.real = torch.cat([real, torch.zeros(more, self.rows, dtype=torch.bool)]).flatten()
        return batch

    def _lanes(self, live: int) -> int:
        return live if live == self.lanes.count else min(self.lanes.count, 1 << (live - 1).bit_length())

    def _batch(self, turns: Sequence[Turn]) -> Batch:
        batch, sizes = self._rows(turns)
        if self.even:
            batch = self._wider(batch, turns[0].member.request.head, turns[0].member.request.train.pad)
        batch.step = torch.tensor([turn.step for turn in turns]).repeat_interleave(sizes)
        if len(self.lanes.members) > 1:
            members = torch.tensor([turn.member.index for turn in turns])
            batch.member = members.repeat_interleave(sizes)
            if sizes.min() == sizes.max():
                all_there = members.tolist() == list(range(len(self.lanes.members)))
                batch.blocks = Blocks(int(sizes[0]), None if all_there else members)
        if self.pooled is None and self.below is None:
            return batch
        units = [(turn.member.index, turn.member.request.train.units(turn.rows)[0]) for turn in turns]
        if self.pooled is not None:
            batch.pooled = torch.cat([self.pooled[index][own] for index, own in units])
        elif self.below is not None:
            length = int(batch.mask.shape[1]) if batch.mask is not None else int(self.below[0].first[1])
            batch.below = torch.cat([self.below[index].take(own, length) for index, own in units])
        return batch

    def _rows(self, turns: Sequence[Turn]) -> tuple[Batch, Tensor]:
        """All rows, and how many units each member has among them."""
        if self.joined is not None:
            batch = self.joined.collate([turn.member.index for turn in turns], [turn.rows for turn in turns])
            return batch, torch.tensor([len(turn.rows) for turn in turns])
        parts = [collate(self.data[turn.member.index], turn.rows) for turn in turns]
        batch = parts[0] if len(parts) == 1 else join(parts, turns[0].member.request.train.pad)
        return batch, torch.tensor([len(part.row) for part in parts])

    def _wider(self, batch: Batch, head: Head, pad: int) -> Batch:
        """As wide as the next multiple of 8, of 16 above 64, of 32 above 128, …, and never wider than any will be."""
        if batch.mask is None:
            return batch
        width = batch.mask.shape[1]
        more = min(-width % max(8, (1 << (width - 1).bit_length()) // 8), self.widest - width)
        segment = None if batch.segment is None else F.pad(batch.segment, (0, more))
        inputs, mask = F.pad(batch.inputs, (0, more), value=pad), F.pad(batch.mask, (0, more))
        targets = batch.targets
        if head.reads == "tokens":  # a target for each, or a few for all
            targets = {k: F.pad(t, (0, more), value=-1) if t.shape[1] == width else t for k, t in targets.items()}
        return replace(batch, inputs=inputs, mask=mask, segment=segment, targets=targets)


def _filled(rows: Tensor, size: int) -> Tensor:
    """With its first row again for each that is missing."""
    return rows if len(rows) == size else torch.cat([rows, rows[:1].expand(size - len(rows))])
