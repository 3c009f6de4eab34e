"""The rows of several members in the same batches: each is answered as its member answers it alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from continual import head as heads
from continual import predict
from continual.adapter import generator
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.method.base import WeightMethod
from continual.stream.joined import Joined
from continual.stream.text import Reader
from continual.stream.units import Encoded
from continual.task_streams import toy
from tests import mixed, tiny

ALIKE = ("topic", "pair", "marks", "degree")
"""Tasks whose rows are one unit each, and whose targets are numbers."""


@pytest.fixture
def model() -> AdaptedEncoder:
    return tiny.adapted()


def splits(kind: str, count: int) -> list[tuple[Encoded, Any, Any]]:
    """Of unequal sizes, and their heads with parameters."""
    read, made = Reader(tiny.tokenizer(toy.WORDS), max_length=48), []
    for number in range(count):
        [task] = mixed.tasks({"train": 1, "valid": 1, "test": 5 + 9 * number}, (kind,))
        head = heads.named(task.head)
        params = head.init(tiny.adapted().width, len(task.labels), generator(number, kind))
        params = {
            name: tensor + torch.randn(tensor.shape, generator=generator(number, name))
            for name, tensor in params.items()
        }
        made.append((read(task.test, head, task.labels), head, params))
    return made


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("wide", [4, 256])
def test_members_that_share_batches_answer_as_they_do_alone(
    kind: str, wide: int, model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "WIDE", wide)
    methods = [method for method in tiny.methods() if not isinstance(method, WeightMethod)]
    made = splits(kind, len(methods))
    model.load([tiny.trained(method, model, seed) for seed, method in enumerate(methods)])
    bank = HeadBank([(head, params) for _, head, params in made])
    asked = [(number, data) for number, (data, _, _) in reversed(list(enumerate(made)))]  # in any order
    joined = Joined.of([data for _, data in asked])
    assert joined is not None
    found = predict._shared(model, bank, joined, asked)
    alone = [predict.answers(model, bank, data, number) for number, data in asked]
    assert [len(said) for said in found] == [len(data) for _, data in asked]
    for one, other in zip(found, alone, strict=True):
        if kind == "degree":
            assert one == pytest.approx(other, abs=1e-4)
        else:
            assert one == other
    assert len({str(said) for said in found}) > 1


def test_a_bank_may_have_members_of_another_kind_that_are_not_asked(model: AdaptedEncoder) -> None:
    made = [*splits("topic", 2), *splits("names", 1), *splits("degree", 1)]
    model.load([tiny.trained(tiny.methods()[0], model, seed) for seed in range(len(made))])
    bank = HeadBank([(head, params) for _, head, params in made])
    asked = [(number, data) for number, (data, _, _) in enumerate(made[:2])]
    joined = Joined.of([data for _, data in asked])
    assert joined is not None
    found = predict._shared(model, bank, joined, asked)
    assert found == [predict.answers(model, bank, data, number) for number, data in asked]


def test_what_is_not_alike_is_answered_split_by_split(model: AdaptedEncoder) -> None:
    made = [splits("topic", 1)[0], splits("names", 1)[0]]
    model.load([tiny.trained(tiny.methods()[0], model, seed) for seed in range(2)])
    bank = HeadBank([(head, params) for _, head, params in made])
    found = predict.answers_together(model, bank, [(n, data) for n, (data, _, _) in enumerate(made)])
    assert found == [predict.answers(model, bank, data, n) for n, (data, _, _) in enumerate(made)]
    assert Joined.of([data for data, _, _ in made]) is None


def test_nobody_is_asked_nothing(model: AdaptedEncoder) -> None:
    assert predict.answers_together(model, HeadBank([]), []) == []
