"""Vectors that find each other: CLIP's loss, a sum by hand, and rows that are no negatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers.models.clip.modeling_clip import image_text_contrastive_loss as clip_loss

from continual.head.retrieve import Retrieve
from continual.score.mrr import MRR
from continual.stream.base import Example
from continual.stream.text import content_id
from tests.head import samples

HEAD = Retrieve()


def vectors(rows: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    states = 1 + 0.3 * torch.randn(2 * rows, 8, generator=rng, dtype=torch.double)  # near each other: each one counts
    return HEAD.logits({"weight": torch.eye(8, dtype=torch.double)}, states, torch.ones(2 * rows, 1))


def losses(logits: Tensor, members: list[int], targets: list[int] | None = None) -> Tensor:
    example = torch.arange(len(members)).repeat_interleave(2)
    ids = torch.tensor(targets or range(len(logits)))
    return HEAD.loss(logits, ids, example, torch.tensor(members).repeat_interleave(2))


def by_hand(logits: Tensor, members: list[int], ids: list[int]) -> list[float]:
    """-log of the share of the right pair among the allowed ones, row by row, in both directions."""
    query, passage = logits[0::2].tolist(), logits[1::2].tolist()
    found = []
    for i in range(len(members)):
        others = [
            j
            for j in range(len(members))
            if members[i] == members[j] and ids[2 * i] != ids[2 * j] and ids[2 * i + 1] != ids[2 * j + 1]
        ]

        def strength(a: list[float], b: list[float]) -> float:
            return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / 0.05)

        own = strength(query[i], passage[i])
        there = own + sum(strength(query[i], passage[j]) for j in others)
        back = own + sum(strength(query[j], passage[i]) for j in others)
        found.append(-(math.log(own / there) + math.log(own / back)) / 2)
    return found


def test_the_vector_is_at_first_the_encoders_own_direction() -> None:
    states = torch.randn(3, 8)
    logits = HEAD.logits(HEAD.init(8, 0, torch.Generator()), states, torch.ones(3, 1))
    assert torch.allclose(logits, states / states.norm(dim=1, keepdim=True))


def test_loss_is_clips() -> None:
    logits = vectors(6)
    wanted = clip_loss(logits[0::2] @ logits[1::2].T / 0.05)
    assert torch.allclose(losses(logits, [0] * 6).mean(), wanted)


@pytest.mark.parametrize(
    ("members", "ids"),
    [
        ([0, 0, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7]),
        ([1, 0, 1, 0], [0, 1, 2, 3, 4, 5, 6, 7]),
        ([0, 0, 0, 0], [0, 9, 2, 9, 4, 5, 4, 7]),  # rows 0 and 1 share a passage, rows 2 and 3 a query
        ([0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_loss_is_the_sum_by_hand(members: list[int], ids: list[int]) -> None:
    logits = vectors(4)
    assert torch.allclose(losses(logits, members, ids), torch.tensor(by_hand(logits, members, ids)).double())


def test_a_row_alone_has_no_loss_and_no_gradient() -> None:
    states = torch.randn(2, 8, requires_grad=True)
    logits = HEAD.logits({"weight": torch.eye(8)}, states, torch.ones(2, 1))
    loss = losses(logits, [0])
    assert loss.tolist() == [0.0]
    assert not torch.autograd.grad(loss.sum(), states)[0].any()


def test_equal_rows_are_no_negatives_of_each_other() -> None:
    logits = vectors(2)[[0, 1, 2, 3, 0, 1]]
    found = losses(logits, [0, 0, 0], [5, 6, 7, 8, 5, 6])
    assert torch.allclose(found[[0, 2]], losses(logits[:4], [0, 0])[[0, 0]])


def test_a_pair_is_read_as_two_texts_and_known_by_its_passage() -> None:
    data = samples.reader()([Example(("w1", "w2 w3"), None), Example(("w4", "w2 w3"), 7)], HEAD, ())
    assert [ids.tolist() for ids in data.inputs] == [[2, 5, 3], [2, 6, 7, 3], [2, 8, 3], [2, 6, 7, 3]]
    assert data.first.tolist() == [0, 2, 4]
    assert data.segments is None
    assert data.wanted == (content_id("w2 w3"),) * 2
    assert torch.as_tensor(data.targets).tolist() == data.row.tolist()
    assert data.row[1] == data.row[3]


def test_the_answer_is_what_the_score_compares() -> None:
    logits = vectors(5)
    logits[1::2] = logits[0::2]
    found = HEAD.decode(logits, [None] * 10, torch.arange(5).repeat_interleave(2))
    assert [query.shape for query, _ in found] == [(8,)] * 5
    assert MRR().total(MRR().rows(found, list(range(5)), ()).sum(0)) == 1
    moved = [(found[i][0], found[(i + 1) % 5][1]) for i in range(5)]
    assert MRR().total(MRR().rows(moved, list(range(5)), ()).sum(0)) < 1


def test_a_state_of_zeros_has_finite_gradients() -> None:
    states = torch.zeros(4, 8, requires_grad=True)
    weight = torch.eye(8, requires_grad=True)
    loss = losses(HEAD.logits({"weight": weight}, states, torch.ones(4, 1)), [0, 0])
    loss.sum().backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("text", ["a query", ("a query",), ("a", "b", "c"), ("a", None)])
def test_what_is_no_pair_is_told(text: object) -> None:
    assert str(HEAD.problem(Example(text, None), ())).startswith("expected a query and a passage, got ")
