"""One input, several modules and heads: each text is answered by all of them in one forward.

The batch is repeated once for each module and routed, so that N modules cost what N times as many texts under one of
them would: modules of all methods that can be routed, each with its own head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from continual.bank import HeadBank
from continual.blocks import Blocks
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.predict import BATCH, to
from continual.stream.batching import test_batches
from continual.stream.units import Encoded, collate, examples, rows_of
from continual.types import Batch


def widened(batch: Batch, count: int) -> Batch:
    """The batch ``count`` times, the k-th time for the k-th of the loaded adapters: U units become count · U."""

    def times(tensor: Tensor) -> Tensor:
        return tensor.repeat(count, *[1] * (tensor.dim() - 1))

    member = torch.arange(count, device=batch.inputs.device).repeat_interleave(len(batch.inputs))
    return Batch(
        inputs=times(batch.inputs),
        mask=None if batch.mask is None else times(batch.mask),
        segment=None if batch.segment is None else times(batch.segment),
        row=times(batch.row),
        example=times(examples(batch)) + member * rows_of(batch),
        member=member,
        blocks=Blocks(len(batch.inputs)),
    )


@torch.no_grad()
def answers(model: AdaptedEncoder, bank: HeadBank, data: Encoded) -> list[list[Any]]:
    """For each loaded adapter, with its own head of the bank, the decoded answer of each row in the order of the rows.

    The rows are read once, as all of the heads must be able to take them. A forward holds as many units as one of a
    single module does in evaluation, so memory does not grow with the number of modules.

    Raises ContinualError where there is not one head for each adapter, and where a mixer makes one of all adapters.
    """
    count = len(model.loaded)
    if model.mixed or count != bank.count:
        raise ContinualError(
            f"expected as many heads as loaded adapters, unmixed; got {bank.count} heads for {count} adapters"
            f"{', which a composition mixes' if model.mixed else ''}"
        )
    device = next(model.encoder.parameters()).device
    found: list[list[Any]] = [[None] * len(data) for _ in range(count)]
    for rows in test_batches(data.lengths, max(1, BATCH // count)):
        batch = to(collate(data, rows), device)
        for member, row, said in _said(model, bank, batch, data, rows):
            found[member][row] = said
    return found


def _said(
    model: AdaptedEncoder, bank: HeadBank, batch: Batch, data: Encoded, rows: Tensor
) -> list[tuple[int, int, Any]]:
    """(adapter, row, answer) of each row of a batch under each adapter."""
    wide, count = widened(batch, bank.count), rows_of(batch)
    units, of = data.units(rows)[0].tolist(), examples(wide)
    found: list[tuple[int, int, Any]] = []
    for answer in bank(model.read(wide), wide.member, wide.blocks):
        marks = [None if data.marks is None else data.marks[units[i % len(units)]] for i in answer.rows.tolist()]
        mine, local = of[answer.rows].unique(return_inverse=True)
        for place, said in zip(mine.tolist(), answer.head.decode(answer.logits, marks, local), strict=True):
            found.append((place // count, int(rows[place % count]), said))
    return found
