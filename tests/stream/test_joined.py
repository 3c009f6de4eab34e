"""Rows of many splits put together at once are those that are put together split by split."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from continual.head.classify import Classify
from continual.stream.base import Example
from continual.stream.joined import Joined
from continual.stream.text import Reader
from continual.stream.units import Encoded, collate, join
from tests.head import samples

READER = Reader(samples.tokenizer(), 16)
ROWS = {name: READER(rows, samples.named(name), labels) for name, (rows, labels) in samples.ROWS.items()}


def texts(*lengths: int, labels: int = 3) -> Encoded:
    rows = [Example(" ".join(samples.WORDS[:length]), n % labels) for n, length in enumerate(lengths)]
    return READER(rows, Classify(), [str(n) for n in range(labels)])


def same(splits: list[Encoded], asked: list[tuple[int, list[int]]]) -> None:
    joined = Joined.of(splits)
    assert joined is not None
    numbers, rows = [split for split, _ in asked], [torch.tensor(own) for _, own in asked]
    found = joined.collate(numbers, rows)
    wanted = join([collate(splits[split], own) for split, own in zip(numbers, rows, strict=True)], splits[0].pad)
    assert vars(found).keys() == vars(wanted).keys()
    for name, value in vars(wanted).items():
        if isinstance(value, Tensor):
            assert torch.equal(vars(found)[name], value), name
            assert vars(found)[name].dtype == value.dtype, name
        elif name != "targets":
            assert vars(found)[name] == value, name
    assert found.targets.keys() == wanted.targets.keys()
    assert all(torch.equal(found.targets[kind], targets) for kind, targets in wanted.targets.items())


def test_texts_of_three_splits_in_any_order_and_some_not_at_all() -> None:
    splits = [texts(3, 9, 1), texts(5, 2, labels=2), texts(7, 7, 1, 4)]
    same(splits, [(0, [2, 0]), (1, [1]), (2, [3, 3, 1])])
    same(splits, [(2, [2]), (0, [0])])  # shorter than the longest of all
    same(splits, [(1, [0, 1])])


@pytest.mark.parametrize("name", ["classify", "multilabel", "regress"])
def test_targets_and_second_texts_of_every_head_whose_rows_are_one_unit(name: str) -> None:
    other = replace(ROWS[name], pad=ROWS[name].pad)
    same([ROWS[name], other], [(1, [0, 2]), (0, [1, 2])])


@pytest.mark.parametrize("name", ["tag", "span", "choice"])
def test_rows_of_several_units_and_targets_of_many_shapes_are_left_to_each_split(name: str) -> None:
    assert Joined.of([ROWS[name], ROWS[name]]) is None


def test_splits_that_are_not_alike_are_left_to_each() -> None:
    one = texts(3, 4)
    assert Joined.of([one, replace(one, pad=1)]) is None
    assert Joined.of([one, ROWS["regress"]]) is None
    assert Joined.of([one, replace(one, targets=torch.zeros(2, 3))]) is None
    assert Joined.of([one, replace(one, segments=one.inputs)]) is None
    pictures = replace(one, inputs=tuple(torch.zeros(3, 4, 4) for _ in range(2)))
    assert Joined.of([pictures, pictures]) is None
