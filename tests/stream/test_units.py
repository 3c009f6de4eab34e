"""Rows of one unit or several: which units are whose, before and after they meet in a batch."""

from __future__ import annotations

from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.errors import DataError
from continual.head.classify import Classify
from continual.stream.base import Example, Image
from continual.stream.image import ImageReader
from continual.stream.text import Reader, content_id
from continual.stream.units import Encoded, collate, examples, fill, join, rows_of
from tests import tiny

WORDS = ["ba", "de", "fi", "go"]
CLS, SEP, BA, DE, FI, GO = 2, 3, 4, 5, 6, 7


def of(*counts: int) -> Encoded:
    """Rows of so many units; unit k is k + 1 tokens long, and all of them are k."""
    total = sum(counts)
    return Encoded(
        inputs=tuple(torch.full((k + 1,), k) for k in range(total)),
        targets=torch.arange(total),
        row=100 + torch.arange(total),
        first=torch.tensor([0, *accumulate(counts)]),
        wanted=tuple(range(len(counts))),
        kind="kind",
        pad=-7,
    )


counts = st.lists(st.integers(1, 4), min_size=1, max_size=6)


@settings(deadline=None)
@given(counts, st.data())
def test_a_batch_has_all_units_of_its_rows_in_the_order_of_the_rows(sizes: list[int], data: st.DataObject) -> None:
    read = of(*sizes)
    rows = data.draw(st.permutations(range(len(sizes))))[: data.draw(st.integers(1, len(sizes)))]
    batch = collate(read, rows)
    units = [
        (position, unit) for position, row in enumerate(rows) for unit in range(sum(sizes[:row]), sum(sizes[: row + 1]))
    ]
    assert batch.row.tolist() == [100 + unit for _, unit in units]
    assert batch.targets["kind"].tolist() == [unit for _, unit in units]
    assert examples(batch).tolist() == [position for position, _ in units]
    assert rows_of(batch) == len(rows)
    assert batch.mask.sum(1).tolist() == [unit + 1 for _, unit in units]
    for (_, unit), ids, mask in zip(units, batch.inputs, batch.mask, strict=True):
        assert ids.tolist() == [unit if here else -7 for here in mask.tolist()]
    assert read.lengths.tolist() == [sum(sizes[: row + 1]) for row in range(len(sizes))]  # of each row's longest unit


def test_rows_of_joined_batches_do_not_meet() -> None:
    one, two = collate(of(2, 1), [0, 1]), collate(of(1, 3), [1])
    both = join([one, two], pad=-7)
    assert both.example.tolist() == [0, 0, 1, 2, 2, 2]
    assert both.row.tolist() == [*one.row.tolist(), *two.row.tolist()]
    assert both.inputs.shape == both.mask.shape == (6, 4)
    assert both.mask.sum(1).tolist() == [1, 2, 3, 2, 3, 4]
    assert both.segment is None


def test_batches_of_several_kinds_keep_the_targets_of_each_apart() -> None:
    words = of(2)
    words = Encoded(words.inputs, [torch.tensor([1]), torch.tensor([2, 3])], words.row, words.first, (0,), "words")
    both = join([collate(words, [0]), collate(of(1), [0]), collate(words, [0])], pad=0)
    assert both.targets["words"].tolist() == [[1, -1], [2, 3], [1, -1], [2, 3]]
    assert both.targets["kind"].tolist() == [0]
    assert both.example.tolist() == [0, 0, 1, 2, 2]


def test_a_pair_is_read_in_two_segments_and_beside_a_single_text() -> None:
    read = Reader(tiny.tokenizer(WORDS), 8)
    pairs = read([Example(("ba", "de fi"), 0), Example(("go", "ba"), 1)], Classify(), ("a", "b"))
    assert pairs.inputs[0].tolist() == [CLS, BA, SEP, DE, FI, SEP]
    batch = collate(pairs, [1, 0])
    assert batch.segment.tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]]
    single = collate(read([Example("ba", 0)], Classify(), ("a", "b")), [0])
    assert single.segment is None
    assert join([single, batch], pad=0).segment.tolist() == [[0] * 6, *batch.segment.tolist()]
    assert content_id(("ba", "de")) != content_id(("ba de",)) != content_id(("bade",))


def test_images_are_units_without_a_mask_as_the_processor_prepares_them() -> None:
    pictures = [Image(4, 4, bytes([value] * 48)) for value in (0, 255)]
    rows = [Example(picture, number) for number, picture in enumerate(pictures)]
    reader = ImageReader(tiny.processor(), 0)
    data = reader(rows, Classify(), ("black", "white"))
    batch = collate(data, [1, 0])
    assert batch.mask is None
    assert batch.inputs.shape == (2, 3, 16, 16)
    assert torch.equal(batch.inputs, torch.stack([torch.ones(3, 16, 16), -torch.ones(3, 16, 16)]))
    assert batch.row.tolist() == [content_id(picture) for picture in reversed(pictures)]
    assert join([batch, batch], pad=0).mask is None
    with pytest.raises(DataError, match="reads images, got the text 'ba'"):
        reader([Example("ba", 0)], Classify(), ("a", "b"))


def test_tensors_are_filled_up_in_every_axis() -> None:
    filled = fill([torch.ones(1, 2), torch.zeros(2, 1)], 9)
    assert filled.tolist() == [[[1, 1], [9, 9]], [[0, 9], [0, 9]]]
