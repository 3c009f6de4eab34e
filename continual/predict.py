"""Forward over a split: features and answers. Batches are the same in every evaluation, so results are too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from continual.bank import HeadBank
from continual.blocks import Blocks
from continual.encoder.adapted import AdaptedEncoder
from continual.stream.batching import test_batches
from continual.stream.joined import Joined
from continual.stream.units import Encoded, collate, examples
from continual.types import Batch

BATCH = 64
"""Rows of an evaluation batch; a constant, so that a score never depends on how a run was configured to train."""

WIDE = 256
"""The same on a GPU, of rows that are one unit each: a small encoder takes as long for fewer."""


@torch.no_grad()
def features(model: AdaptedEncoder, data: Encoded, member: int | None = None) -> Tensor:
    """(units, d) pooled states of each unit, on the CPU, in the encoder's precision and the order of the units."""
    found = torch.empty(len(data.inputs), model.width, dtype=next(model.encoder.parameters()).dtype)
    for rows, batch in forward_batches(model, data, member):
        found[data.units(rows)[0]] = model.read(batch).pooled.to(found)
    return found


def row_features(model: AdaptedEncoder, data: Encoded) -> Tensor:
    """(rows, d) the same of each row in float32: of a row in several units their mean."""
    units, of = data.units(torch.arange(len(data)))
    found = features(model, data)[units].float()
    sums = found.new_zeros(len(data), found.shape[1]).index_add(0, of, found)
    return sums / of.bincount(minlength=len(data))[:, None]


@torch.no_grad()
def word_features(model: AdaptedEncoder, data: Encoded) -> tuple[Tensor, Tensor]:
    """(words, d) states of the tokens that a tagging head answers, float32, and their (words,) targets."""
    states, targets = [], []
    for _, batch in forward_batches(model, data, None):
        [target] = batch.targets.values()
        answered = target >= 0
        states.append(model.read(batch).tokens[:, : target.shape[1]][answered].float().cpu())
        targets.append(target[answered].cpu())
    return torch.cat(states), torch.cat(targets)


@torch.no_grad()
def answers(model: AdaptedEncoder, bank: HeadBank, data: Encoded, member: int | None = None) -> list[Any]:
    """The decoded answer of each row, in the order of the rows."""
    found: list[Any] = [None] * len(data)
    for rows, batch in forward_batches(model, data, member):
        units, of = data.units(rows)[0].tolist(), examples(batch)
        for answer in bank(model.read(batch), batch.member):
            marks = [None if data.marks is None else data.marks[units[i]] for i in answer.rows.tolist()]
            mine, local = of[answer.rows].unique(return_inverse=True)
            for row, said in zip(mine.tolist(), answer.head.decode(answer.logits, marks, local), strict=True):
                found[int(rows[row])] = said
    return found


@torch.no_grad()
def answers_together(model: AdaptedEncoder, bank: HeadBank, asked: Sequence[tuple[int, Encoded]]) -> list[list[Any]]:
    """The decoded answers of each split's rows by its own member, as ``answers`` gives them up to rounding.

    On a GPU rows of several members share a batch, where splits are alike and each row is one unit: a small encoder
    takes as long for fewer. On a CPU, and where they are not, one split after the other.
    """
    device, splits = next(model.encoder.parameters()).device, [data for _, data in asked]
    alike = None if device.type != "cuda" or len(asked) < 2 else Joined.of(splits)
    if alike is None or any(data.marks is not None for data in splits):
        return [answers(model, bank, data, member) for member, data in asked]
    return _shared(model, bank, alike, asked)


def _shared(
    model: AdaptedEncoder, bank: HeadBank, joined: Joined, asked: Sequence[tuple[int, Encoded]]
) -> list[list[Any]]:
    device, splits = next(model.encoder.parameters()).device, [data for _, data in asked]
    sizes = torch.tensor([len(data) for data in splits])
    split, begin = torch.arange(len(splits)).repeat_interleave(sizes), sizes.cumsum(0) - sizes
    member = torch.tensor([number for number, _ in asked])
    found: list[Any] = [None] * int(sizes.sum())
    for rows in test_batches(torch.cat([data.lengths for data in splits]), WIDE):
        rows = rows[split[rows].argsort(stable=True)]
        which, count = split[rows].unique_consecutive(return_counts=True)
        own = (rows - begin[split[rows]]).split(count.tolist())
        batch = to(joined.collate(which.tolist(), own), device)
        batch.member = to_device(member[split[rows]], device)
        for answer in bank(model.read(batch), batch.member):
            if not len(answer.rows):  # of a kind whose members are not asked
                continue
            mine = rows[answer.rows.cpu()]
            said = answer.head.decode(answer.logits, [None] * len(mine), torch.arange(len(mine), device=device))
            for row, one in zip(mine.tolist(), said, strict=True):
                found[row] = one
    ends = sizes.cumsum(0).tolist()
    return [found[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]


def forward_batches(model: AdaptedEncoder, data: Encoded, member: int | None) -> Iterator[tuple[Tensor, Batch]]:
    """(b,) row numbers and their batch, longest texts first, on the model's device; all answered by ``member``.

    Raises RuntimeError at the end if not all rows came.
    """
    device, left = next(model.encoder.parameters()).device, len(data)
    size = WIDE if device.type == "cuda" and data.alone else BATCH
    for rows in test_batches(data.lengths, size):
        batch = to(collate(data, rows), device)
        if member is not None:
            batch.member = torch.full((len(batch.inputs),), member, dtype=torch.long, device=device)
        yield rows, batch
        left -= len(rows)
    if left:  # as with a loader that drops its last batch
        raise RuntimeError(f"{left} of {len(data)} rows were not answered")


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device."""
    moved = {name: to_device(t, device) for name, t in vars(batch).items() if isinstance(t, Tensor)}
    blocks = batch.blocks
    if blocks is not None and blocks.members is not None:
        blocks = Blocks(blocks.each, to_device(blocks.members, device))
    targets = {kind: to_device(t, device) for kind, t in batch.targets.items()}
    return replace(batch, **moved, blocks=blocks, targets=targets)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; a GPU is not waited for."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
