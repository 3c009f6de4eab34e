"""Rows as the encoder reads them, in units; batches of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.types import Batch


class Packed(NamedTuple):
    """Sequences one behind the other: any of them as a matrix by a few operations, not by some for each.

    flat     (tokens,) of all
    begin    (units,) where each begins
    lengths  (units,)
    """

    flat: Tensor
    begin: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, sequences: Sequence[Tensor]) -> Packed:
        lengths = torch.tensor([sequence.shape[-1] for sequence in sequences])
        texts = len(sequences) > 0 and sequences[0].dim() == 1
        return cls(torch.cat(list(sequences)) if texts else torch.empty(0), lengths.cumsum(0) - lengths, lengths)

    @classmethod
    def joined(cls, several: Sequence[Packed]) -> Packed:
        """The sequences of the first, then those of the second, …"""
        flat = torch.cat([each.flat for each in several])
        starts = torch.tensor([0, *(len(each.flat) for each in several)]).cumsum(0).tolist()
        begin = torch.cat([each.begin + start for each, start in zip(several, starts, strict=False)])
        return cls(flat, begin, torch.cat([each.lengths for each in several]))

    def take(self, units: Tensor, pad: int) -> tuple[Tensor, Tensor]:
        """(U, T) of these sequences, filled up with ``pad`` to the longest; (U, T) whether a place is of its own."""
        lengths = self.lengths[units, None]
        place = torch.arange(int(lengths.max()))
        there = place < lengths
        index = (self.begin[units, None] + place).clamp_max(len(self.flat) - 1)
        return self.flat[index].masked_fill(~there, pad), there


@dataclass(frozen=True)
class Encoded:
    """The rows of one split as an encoder and a head read them: each row is one unit or more (``types.Batch``).

    inputs     per unit: (T,) token ids, special tokens included, cut at the length limit; or (3, h, w) pixels
    segments   per unit: (T,) 0 or 1, which of two texts each token is of; None: all are of the first
    targets    per unit: what the head is to answer, of equal dimensions
    marks      per unit: what the head needs to read an answer out of its logits; None where it needs nothing
    row        (units,) 64-bit content ids: f(text), the same in every batch and run
    first      (rows + 1,) the units of row i are first[i] to first[i + 1] - 1
    wanted     per row: the right answer, as a score compares it
    kind       the path of the head
    truncated  how many rows were longer than the limit and lost their end
    pad        the id that fills batches up
    """

    inputs: tuple[Tensor, ...]
    targets: Sequence[Tensor] | Tensor
    row: Tensor
    first: Tensor
    wanted: tuple[Any, ...]
    kind: Hashable
    segments: tuple[Tensor, ...] | None = None
    marks: tuple[Any, ...] | None = None
    truncated: int = 0
    pad: int = 0

    def __len__(self) -> int:
        return len(self.first) - 1

    @cached_property
    def lengths(self) -> Tensor:
        """(rows,) the tokens of each row's longest unit."""
        if self.alone:
            return self.packed.lengths
        return torch.stack([each.max() for each in self.packed.lengths.split(self.first.diff().tolist())])

    @cached_property
    def alone(self) -> bool:
        """Whether each row is one unit."""
        return len(self.inputs) == len(self) and bool((self.first.diff() == 1).all())

    @cached_property
    def packed(self) -> Packed:
        """The tokens of all units; made when it is asked for first."""
        return Packed.of(self.inputs)

    @cached_property
    def packed_segments(self) -> Packed | None:
        return None if self.segments is None else Packed.of(self.segments)

    def read(self) -> Encoded:
        """The same rows where all that was to be read of them is known: units without a token or a pixel."""
        return replace(self, inputs=(torch.empty(0, dtype=torch.long),) * len(self.inputs), segments=None)

    def units(self, rows: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """The units of these rows, in order, and for each the position of its row among ``rows``."""
        index = torch.as_tensor(rows, dtype=torch.long)
        if self.alone:
            return index, torch.arange(len(index))
        begin, count = self.first[index], self.first[index + 1] - self.first[index]
        example = torch.arange(len(index)).repeat_interleave(count)
        start = begin - count.cumsum(0) + count
        return torch.arange(int(count.sum())) + start[example], example


def collate(data: Encoded, rows: Sequence[int] | Tensor) -> Batch:
    """These rows' U units, (U, T) padded to the longest of them, or (U, 3, h, w) pixels."""
    units, example = data.units(rows)
    segment = None
    if data.inputs[0].dim() == 3:
        inputs, mask = torch.stack([data.inputs[i] for i in units.tolist()]), None
    else:
        inputs, there = data.packed.take(units, data.pad)
        mask = there.long()
        if data.packed_segments is not None:
            segment, _ = data.packed_segments.take(units, 0)
    if isinstance(data.targets, Tensor):
        targets = data.targets[units]
    else:
        targets = fill([torch.as_tensor(data.targets[i]) for i in units.tolist()], -1)
    return Batch(
        inputs=inputs,
        mask=mask,
        row=data.row[units],
        example=None if len(units) == len(rows) else example,
        targets={data.kind: targets},
        segment=segment,
    )


def join(batches: Sequence[Batch], pad: int) -> Batch:
    """Batches as one, of members that are still to be named; None of them may carry members already."""
    starts = [0]
    for batch in batches:
        starts.append(starts[-1] + rows_of(batch))
    kinds: dict[Hashable, list[Tensor]] = {}
    for batch in batches:
        for kind, targets in batch.targets.items():
            kinds.setdefault(kind, []).append(targets)
    segments = [torch.zeros_like(b.inputs) if b.segment is None else b.segment for b in batches]
    return Batch(
        inputs=_together([batch.inputs for batch in batches], pad),
        mask=None if batches[0].mask is None else _together([b.mask for b in batches if b.mask is not None], 0),
        row=torch.cat([batch.row for batch in batches]),
        example=None
        if all(batch.example is None for batch in batches)
        else torch.cat([examples(b) + start for b, start in zip(batches, starts, strict=False)]),
        targets={kind: _together(targets, -1) for kind, targets in kinds.items()},
        segment=None if all(batch.segment is None for batch in batches) else _together(segments, 0),
    )


def examples(batch: Batch) -> Tensor:
    """(U,) which row of the batch each unit is of."""
    if batch.example is None:
        return torch.arange(len(batch.inputs), device=batch.inputs.device)
    return batch.example


def rows_of(batch: Batch) -> int:
    """How many rows of a task a batch has."""
    return len(batch.inputs) if batch.example is None else int(batch.example.max()) + 1


def fill(tensors: Sequence[Tensor], value: int) -> Tensor:
    """Stacked, each filled up with ``value`` to the largest in every axis."""
    size = [max(t.shape[axis] for t in tensors) for axis in range(tensors[0].dim())]
    if all(list(t.shape) == size for t in tensors):
        return torch.stack(list(tensors))
    stacked = tensors[0].new_full((len(tensors), *size), value)
    for slot, tensor in enumerate(tensors):
        stacked[slot][tuple(slice(n) for n in tensor.shape)] = tensor
    return stacked


def _together(tensors: Sequence[Tensor], value: int) -> Tensor:
    """(u, …) tensors one below the other, filled up to the widest."""
    size = [max(t.shape[axis] for t in tensors) for axis in range(tensors[0].dim())]
    more = [
        [n for most, own in zip(size[:0:-1], t.shape[:0:-1], strict=True) for n in (0, most - own)] for t in tensors
    ]
    return torch.cat([F.pad(t, pads, value=value) if any(pads) else t for t, pads in zip(tensors, more, strict=True)])
