"""Heads of several members on one encoder, each row answered by its member's."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual.bank import HeadBank
from continual.errors import ContinualError
from continual.head import named
from continual.head.base import Head
from continual.head.classify import Classify
from continual.method.base import Params
from tests import tiny


@dataclass(frozen=True)
class Apart:
    """Another kind of question: a yes or no for each class by itself, scored by squared distance (Brier 1950)."""

    reads: ClassVar[Literal["pooled"]] = "pooled"

    def path(self) -> Hashable:
        return "apart"

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"w": torch.randn(labels, d, generator=rng)}

    def logits(self, p: Params, states: Tensor) -> Tensor:
        return states @ p["w"].mT

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.sigmoid() - F.one_hot(labels, logits.shape[-1])).square().sum(-1)

    def decode(self, logits: Tensor) -> Tensor:
        return logits.argmax(-1)


def heads(*kinds: tuple[Head, int]) -> list[tuple[Head, Params]]:
    rng = torch.Generator().manual_seed(0)
    made = [(head, head.init(8, labels, rng)) for head, labels in kinds]
    return [(head, {name: t + torch.randn(t.shape, generator=rng) for name, t in p.items()}) for head, p in made]


NARROW_AND_WIDE = ((Classify(), 2), (Classify(), 5), (Classify(), 3))
TWO_KINDS = ((Classify(), 2), (Apart(), 3), (Classify(), 4), (Apart(), 2))


@pytest.mark.parametrize("kinds", [NARROW_AND_WIDE, TWO_KINDS], ids=["unequal widths", "two kinds"])
def test_each_row_is_answered_as_by_its_members_head_alone(kinds: tuple[tuple[Head, int], ...]) -> None:
    several = heads(*kinds)
    bank = HeadBank(several, train=range(len(several)))
    pooled = torch.randn(12, 8)
    member = torch.arange(12) % len(several)
    labels = torch.tensor([int(number) % kinds[m][1] for number, m in enumerate(member.tolist())])
    answered = []
    for answer in bank(pooled, member):
        loss, decoded = answer.head.loss(answer.logits, labels[answer.rows]), answer.head.decode(answer.logits)
        for position, row in enumerate(answer.rows.tolist()):
            head, params = several[int(member[row])]
            wanted = head.logits(params, pooled[row : row + 1])
            width = wanted.shape[1]
            assert tiny.gap(answer.logits[position, :width], wanted[0]) <= 1e-6
            assert int(decoded[position]) == int(head.decode(wanted))
            assert tiny.gap(loss[position], head.loss(wanted, labels[row : row + 1])[0]) <= 1e-5
            answered.append(row)
    assert sorted(answered) == list(range(12))


def test_labels_that_a_narrow_head_lacks_are_never_answered_nor_trained() -> None:
    bank = HeadBank(heads(*NARROW_AND_WIDE), train=range(3))
    pooled, member = torch.randn(9, 8), torch.arange(9) % 3
    [answer] = bank(pooled, member)
    for position, size in enumerate([2, 5, 3] * 3):
        assert answer.logits[position, size:].isneginf().all()
        assert answer.logits[position, :size].isfinite().all()
    answer.head.loss(answer.logits, torch.zeros(9, dtype=torch.long)).sum().backward()
    for parameter, owners in bank.slices():
        for owner, size in zip(owners, [2, 5, 3], strict=True):
            assert parameter.grad[owner, :size].any()
            assert not parameter.grad[owner, size:].any()


@pytest.mark.parametrize("kinds", [NARROW_AND_WIDE, TWO_KINDS], ids=["unequal widths", "two kinds"])
def test_what_is_taken_out_is_what_was_put_in(kinds: tuple[tuple[Head, int], ...]) -> None:
    several = heads(*kinds)
    bank = HeadBank(several, train=[0])
    assert [tiny.equal({"": bank.take(n)}, {"": params}) for n, (_, params) in enumerate(several)] == [True] * len(
        kinds
    )
    assert {owners for _, owners in bank.slices()} == {(0,)}
    with pytest.raises(IndexError):
        bank.take(len(kinds))


def test_one_head_needs_no_members() -> None:
    [(head, params)] = several = heads((Classify(), 3))
    pooled = torch.randn(4, 8)
    [answer] = HeadBank(several)(pooled)
    assert torch.equal(answer.logits, head.logits(params, pooled))
    assert answer.rows.tolist() == [0, 1, 2, 3]


def test_a_kind_of_head_without_rows_in_the_batch_answers_none() -> None:
    bank = HeadBank(heads(*TWO_KINDS), train=range(4))
    first, second = bank(torch.randn(2, 8), torch.tensor([0, 2]))
    assert (len(first.rows), len(second.rows)) == (2, 0)
    assert second.head.loss(second.logits, torch.zeros(0, dtype=torch.long)).shape == (0,)


def test_heads_are_named_by_their_files() -> None:
    assert named("classify") == Classify()
    with pytest.raises(ContinualError, match=r"unknown head '\.\./classify'; choose from: classify"):
        named("../classify")
