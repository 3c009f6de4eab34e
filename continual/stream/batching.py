"""Which rows make up which batch: pure functions of seed and epoch, so that any step can be made again at any time."""

from __future__ import annotations

import torch
from torch import Tensor

from continual.files import canonical, sha256

WINDOW = 16
"""Batches whose rows are sorted by length together: less padding, and still another mixture in every epoch."""


def epoch_batches(lengths: Tensor, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """Row indices of each batch of one epoch; every row once, batches of similar lengths in random order.

    >>> [sorted(batch.tolist()) for batch in epoch_batches(torch.ones(5), 8, seed=0, epoch=0)]
    [[0, 1, 2, 3, 4]]
    """
    rng = torch.Generator().manual_seed(int(sha256(canonical(["order", seed, epoch]))[:15], 16))
    order = torch.randperm(len(lengths), generator=rng)
    window = torch.arange(len(order)) // (batch_size * WINDOW)
    longest = int(lengths.max()) if len(lengths) else 0
    batches = order[(window * (longest + 1) + lengths[order]).argsort(stable=True)].split(batch_size)
    return [batches[i] for i in torch.randperm(len(batches), generator=rng).tolist()]


def test_batches(lengths: Tensor, batch_size: int) -> list[Tensor]:
    """Row indices of each batch, longest first (memory runs out at once or never), the same in every evaluation."""
    return list(lengths.argsort(descending=True, stable=True).split(batch_size))
