"""Heads of several members on one encoder, each unit answered by its member's."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
from continual.stream.base import Example, Rows
from continual.stream.text import Reader
from continual.stream.units import Encoded
from continual.types import States
from tests import tiny


@dataclass(frozen=True)
class Apart:
    """Another kind of question: a yes or no for each class by itself, scored by squared distance (Brier 1950)."""

    reads: ClassVar[Literal["pooled", "tokens"]] = "pooled"
    score: ClassVar[str] = "accuracy"
    classes: ClassVar[bool] = True

    def path(self) -> Hashable:
        return "apart"

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        return None

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        return Classify().read(reader, rows, labels)

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"w": torch.randn(labels, d, generator=rng)}

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return states @ p["w"].mT

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor, member: Tensor) -> Tensor:
        return (logits.sigmoid() - F.one_hot(targets, logits.shape[-1])).square().sum(-1)

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        return logits.argmax(-1).tolist()


@dataclass(frozen=True)
class Tokens(Apart):
    """The same of every token: its width stands in the last of three axes."""

    reads: ClassVar[Literal["pooled", "tokens"]] = "tokens"

    def path(self) -> Hashable:
        return "tokens"

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask[..., None] > 0, states @ p["w"].mT, 0.0)


def states(units: int, tokens: int = 4) -> States:
    """Of units that are unequally long."""
    mask = (torch.arange(tokens) <= torch.arange(units)[:, None] % tokens).long()
    return States(torch.randn(units, tokens, 8), torch.randn(units, 8), mask)


def read(head: Head, found: States, unit: int) -> tuple[Tensor, Tensor]:
    """What a head reads of one unit."""
    return (found.pooled if head.reads == "pooled" else found.tokens)[unit : unit + 1], found.mask[unit : unit + 1]


def losses(head: Head, logits: Tensor, targets: Tensor, member: Tensor) -> Tensor:
    return head.loss(logits, targets, torch.arange(len(logits)), member)


def said(head: Head, logits: Tensor) -> list[Any]:
    return head.decode(logits, [None] * len(logits), torch.arange(len(logits)))


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
    found = states(12)
    member = torch.arange(12) % len(several)
    labels = torch.tensor([int(number) % kinds[m][1] for number, m in enumerate(member.tolist())])
    answered = []
    for answer in bank(found, member):
        loss = losses(answer.head, answer.logits, labels[answer.rows], member[answer.rows])
        decoded = said(answer.head, answer.logits)
        for position, row in enumerate(answer.rows.tolist()):
            head, params = several[int(member[row])]
            wanted = head.logits(params, *read(head, found, row))
            width = wanted.shape[1]
            assert tiny.gap(answer.logits[position, :width], wanted[0]) <= 1e-6
            assert decoded[position] == said(head, wanted)[0]
            assert tiny.gap(loss[position], losses(head, wanted, labels[row : row + 1], torch.zeros(1))[0]) <= 1e-5
            answered.append(row)
    assert sorted(answered) == list(range(12))


def test_labels_that_a_narrow_head_lacks_are_never_answered_nor_trained() -> None:
    bank = HeadBank(heads(*NARROW_AND_WIDE), train=range(3))
    member = torch.arange(9) % 3
    [answer] = bank(states(9), member)
    for position, size in enumerate([2, 5, 3] * 3):
        assert answer.logits[position, size:].isneginf().all()
        assert answer.logits[position, :size].isfinite().all()
    losses(answer.head, answer.logits, torch.zeros(9, dtype=torch.long), member).sum().backward()
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
    found = states(4)
    [answer] = HeadBank(several)(found)
    assert torch.equal(answer.logits, head.logits(params, found.pooled, found.mask))
    assert answer.rows.tolist() == [0, 1, 2, 3]


def test_a_kind_of_head_without_rows_in_the_batch_answers_none() -> None:
    bank = HeadBank(heads(*TWO_KINDS), train=range(4))
    first, second = bank(states(2), torch.tensor([0, 2]))
    assert (len(first.rows), len(second.rows)) == (2, 0)
    assert losses(second.head, second.logits, torch.zeros(0, dtype=torch.long), torch.zeros(0)).shape == (0,)


def test_a_head_of_tokens_reads_each_token_and_its_mask() -> None:
    kinds = ((Tokens(), 2), (Classify(), 3), (Tokens(), 4))
    several, found = heads(*kinds), states(6)
    member = torch.tensor([0, 1, 2, 2, 1, 0])
    tokens, pooled = HeadBank(several)(found, member)
    assert (tokens.rows.tolist(), pooled.rows.tolist()) == ([0, 2, 3, 5], [1, 4])
    assert (tokens.logits.shape, pooled.logits.shape) == ((4, 4, 4), (2, 3))
    for position, row in enumerate(tokens.rows.tolist()):
        head, params = several[int(member[row])]
        wanted = head.logits(params, *read(head, found, row))[0]
        width = wanted.shape[-1]
        assert tiny.gap(tokens.logits[position, :, :width], wanted) <= 1e-5
        assert tokens.logits[position, :, width:].isneginf().all()


def test_heads_are_named_by_their_files() -> None:
    assert named("classify") == Classify()
    with pytest.raises(ContinualError, match=r"unknown head '\.\./classify'; choose from: choice, classify"):
        named("../classify")


def test_what_all_outputs_have_in_common_is_neither_padded_nor_trained() -> None:
    """Heads on random features of two numbers, beside heads without."""
    several = heads((Classify(), 2), (Classify(), 5), (Classify(), 3), (Classify(), 4))
    for number, features in ((0, 6), (1, 6), (2, 20)):
        rng = torch.Generator().manual_seed(number)
        params = several[number][1]
        params["projection"] = torch.randn(features, 8, generator=rng)
        params["weight"] = torch.randn(len(params["bias"]), features, generator=rng)
    bank, found, member = HeadBank(several, train=range(4)), states(8), torch.arange(8) % 4
    assert len(bank.groups) == 3
    for answer in bank(found, member):
        for position, row in enumerate(answer.rows.tolist()):
            params = several[int(member[row])][1]
            read = (
                found.pooled[row] if "projection" not in params else (params["projection"] @ found.pooled[row]).relu()
            )
            wanted = params["weight"] @ read + params["bias"]
            assert tiny.gap(answer.logits[position, : len(wanted)], wanted) <= 1e-5
            assert answer.logits[position, len(wanted) :].isneginf().all()
    assert all(tiny.equal({"": bank.take(n)}, {"": params}) for n, (_, params) in enumerate(several))
    assert sum(1 for _ in bank.slices()) == 2 * 3
    assert not any(parameter.shape[-2:] in ((6, 8), (20, 8)) for parameter, _ in bank.slices())
