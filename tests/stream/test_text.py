"""Texts as token ids: cut where they are too long, known by their content, padded when they meet."""

from __future__ import annotations

import torch

from continual.head.classify import Classify
from continual.stream.base import Example
from continual.stream.text import Reader, content_id
from continual.stream.units import Encoded, collate, join
from tests import tiny

WORDS = ["ba", "de", "fi", "go"]
CLS, SEP, BA, DE, FI, GO = 2, 3, 4, 5, 6, 7


def read(*texts: str, max_length: int = 6) -> Encoded:
    rows = [Example(text, number) for number, text in enumerate(texts)]
    return Reader(tiny.tokenizer(WORDS), max_length)(rows, Classify(), texts)


def test_long_texts_are_cut_to_the_limit_and_counted() -> None:
    data = read("ba de", "ba de fi go", "ba de fi go ba", "ba de fi go ba de fi")
    assert [ids.tolist() for ids in data.inputs] == [
        [CLS, BA, DE, SEP],
        [CLS, BA, DE, FI, GO, SEP],  # just fits
        [CLS, BA, DE, FI, GO, SEP],
        [CLS, BA, DE, FI, GO, SEP],
    ]
    assert data.truncated == 2
    assert data.lengths.tolist() == [4, 6, 6, 6]
    assert list(data.wanted) == [0, 1, 2, 3]
    assert len(data) == 4
    assert data.pad == 0


def test_a_row_is_known_by_its_text_alone() -> None:
    data = read("ba", "de", "ba")
    assert data.row[0] == data.row[2] == content_id("ba") != data.row[1]
    assert data.row.tolist() == read("ba", "de", "ba", max_length=3).row.tolist()
    assert len({content_id(f"text {number}") for number in range(1000)}) == 1000
    assert -(1 << 63) <= content_id("\ud800 a lone surrogate") < 1 << 63


def test_a_split_is_read_once() -> None:
    reader = Reader(tiny.tokenizer(WORDS), 6)
    rows = [Example("ba", 0)]
    labels = ("good", "bad")
    assert reader(rows, Classify(), labels) is reader(rows, Classify(), labels)
    assert reader(list(rows), Classify(), labels) is not reader(rows, Classify(), labels)


def test_a_batch_is_padded_to_its_longest_text() -> None:
    batch = collate(read("ba de fi go", "ba", "ba de"), [2, 1])
    assert batch.inputs.tolist() == [[CLS, BA, DE, SEP], [CLS, BA, SEP, 0]]
    assert batch.mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.targets[Classify().path()].tolist() == [2, 1]
    assert batch.row.tolist() == [content_id("ba de"), content_id("ba")]


def test_joined_batches_keep_their_rows_in_order() -> None:
    data = read("ba de fi go", "ba", "de")
    short, long = collate(data, [1]), collate(data, [2, 0])
    both = join([short, long], pad=0)
    assert both.inputs.tolist() == [[CLS, BA, SEP, 0, 0, 0], [CLS, DE, SEP, 0, 0, 0], [CLS, BA, DE, FI, GO, SEP]]
    assert both.mask.sum(1).tolist() == [3, 3, 6]
    assert both.targets[Classify().path()].tolist() == [1, 2, 0]
    assert both.example is None  # each unit is a row
    assert torch.equal(both.row, data.row[[1, 2, 0]])
