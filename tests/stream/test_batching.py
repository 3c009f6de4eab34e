"""Batches are a pure function of seed and epoch, and hold every row once."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.files import canonical, sha256
from continual.stream import batching
from continual.stream.batching import epoch_batches

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=200).map(torch.tensor)
sizes = st.integers(1, 9)


@settings(deadline=None)
@given(lengths, sizes, st.integers(0, 5), st.integers(0, 5))
def test_every_row_is_in_one_batch_of_an_epoch(lengths: torch.Tensor, size: int, seed: int, epoch: int) -> None:
    for batches in (epoch_batches(lengths, size, seed, epoch), batching.test_batches(lengths, size)):
        assert sorted(torch.cat(batches).tolist()) == list(range(len(lengths)))
        assert [len(batch) for batch in batches].count(size) == len(lengths) // size
        assert len(batches) == -(-len(lengths) // size)


def order(seed: int, epoch: int) -> list[list[int]]:
    return [batch.tolist() for batch in epoch_batches(torch.arange(100) % 7, 8, seed, epoch)]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = order(0, 0)
    torch.manual_seed(99)
    assert order(0, 0) == first
    assert order(0, 1) != first != order(1, 0) != order(0, 1)


def test_batches_of_similar_lengths_waste_little_padding() -> None:
    lengths = torch.randint(1, 100, (640,), generator=torch.Generator().manual_seed(0))
    batches = epoch_batches(lengths, 16, 0, 0)
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    assert int(lengths.sum()) > 0.85 * padded


def test_evaluation_starts_with_the_longest_text() -> None:
    lengths = torch.tensor([3, 9, 1, 9, 4])
    assert [batch.tolist() for batch in batching.test_batches(lengths, 2)] == [[1, 3], [4, 0], [2]]


@settings(deadline=None)
@given(lengths, sizes, st.integers(0, 5))
def test_rows_are_sorted_by_length_window_by_window(lengths: torch.Tensor, size: int, seed: int) -> None:
    """As a loop over the windows gives it: what was recorded before can be made again."""
    rng = torch.Generator().manual_seed(int(sha256(canonical(["order", seed, 0]))[:15], 16))
    windows = torch.randperm(len(lengths), generator=rng).split(size * batching.WINDOW)
    cut = [batch for own in windows for batch in own[lengths[own].argsort(stable=True)].split(size)]
    wanted = [cut[i].tolist() for i in torch.randperm(len(cut), generator=rng)]
    assert [batch.tolist() for batch in epoch_batches(lengths, size, seed, 0)] == wanted
