"""Splits of texts as one: a batch of rows of many of them is put together by a few operations, not by some for each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from continual.stream.units import Encoded, Packed
from continual.types import Batch


@dataclass(frozen=True)
class Joined:
    """Splits one behind the other; each row is one unit.

    begin  where the rows of each split begin among those of all
    """

    texts: Packed
    segments: Packed | None
    targets: Tensor
    row: Tensor
    begin: tuple[int, ...]
    kind: Hashable
    pad: int

    @classmethod
    def of(cls, splits: Sequence[Encoded]) -> Joined | None:
        """None where they are not alike: images, rows of several units, targets of several shapes or kinds."""
        first = splits[0]
        forms = {(s.kind, s.pad, s.segments is None, _form(s.targets), s.inputs[0].dim(), s.alone) for s in splits}
        if len(forms) > 1 or not first.alone or first.inputs[0].dim() > 1 or not isinstance(first.targets, Tensor):
            return None
        begin = torch.tensor([0, *(len(split) for split in splits)]).cumsum(0)[:-1].tolist()
        segments = [split.packed_segments for split in splits if split.packed_segments is not None]
        return cls(
            texts=Packed.joined([split.packed for split in splits]),
            segments=Packed.joined(segments) if segments else None,
            targets=torch.cat([split.targets for split in splits if isinstance(split.targets, Tensor)]),
            row=torch.cat([split.row for split in splits]),
            begin=tuple(begin),
            kind=first.kind,
            pad=first.pad,
        )

    def collate(self, splits: Sequence[int], rows: Sequence[Tensor]) -> Batch:
        """These rows of these splits, as ``units.join`` puts together what ``units.collate`` makes of each."""
        units = torch.cat([own + self.begin[split] for split, own in zip(splits, rows, strict=True)])
        inputs, there = self.texts.take(units, self.pad)
        return Batch(
            inputs=inputs,
            mask=there.long(),
            row=self.row[units],
            targets={self.kind: self.targets[units]},
            segment=None if self.segments is None else self.segments.take(units, 0)[0],
        )


def _form(targets: Sequence[Tensor] | Tensor) -> object:
    return (targets.shape[1:], targets.dtype) if isinstance(targets, Tensor) else None
