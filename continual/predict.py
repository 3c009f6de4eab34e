"""Forward over a split: features and answers. Batches are the same in every evaluation, so results are too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.stream.batching import test_batches
from continual.stream.text import Encoded, collate
from continual.types import Batch

Pool = Callable[[Tensor, Tensor], Tensor]
"""(B, T, d) states, (B, T) mask -> (B, d)."""

BATCH = 64
"""Rows of an evaluation batch; a constant, so that a score never depends on how a run was configured to train."""


@torch.no_grad()
def features(model: AdaptedEncoder, pool: Pool, data: Encoded, member: int | None = None) -> Tensor:
    """(n, d) pooled states of each row, on the CPU, in the encoder's precision and the order of the rows."""
    found = torch.empty(len(data), model.width, dtype=next(model.encoder.parameters()).dtype)
    for rows, batch in forward_batches(model, data, member):
        found[rows] = pool(model(batch), batch.mask).to(found)
    return found


@torch.no_grad()
def answers(model: AdaptedEncoder, bank: HeadBank, pool: Pool, data: Encoded, member: int | None = None) -> Tensor:
    """(n,) decoded answers of each row, on the CPU, in the order of the rows."""
    found = torch.full((len(data),), -1, dtype=torch.long)
    for rows, batch in forward_batches(model, data, member):
        for answer in bank(pool(model(batch), batch.mask), batch.member):
            found[rows[answer.rows.cpu()]] = answer.head.decode(answer.logits).cpu()
    return found


def forward_batches(model: AdaptedEncoder, data: Encoded, member: int | None) -> Iterator[tuple[Tensor, Batch]]:
    """Row numbers and batches, longest texts first, on the model's device; all rows answered by ``member``."""
    device = next(model.encoder.parameters()).device
    for rows in test_batches(data.lengths, BATCH):
        batch = to(collate(data, rows), device)
        if member is not None:
            batch.member = torch.full((len(rows),), member, dtype=torch.long, device=device)
        yield rows, batch


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device."""
    return replace(batch, **{name: t.to(device) for name, t in vars(batch).items() if t is not None})
