"""One input under several modules and heads at once: each answers as it would alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from continual import parallel, predict
from continual.adapter import Adapter, generator
from continual.bank import HeadBank
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.head.base import Head
from continual.head.classify import Classify
from continual.head.regress import Regress
from continual.method.base import Params, WeightMethod
from continual.method.bottleneck import Bottleneck
from continual.stream.text import Reader
from continual.stream.units import Encoded
from continual.task_streams import toy
from tests import tiny


def rows(count: int = 30) -> Encoded:
    task = toy.tasks()[0]
    read = Reader(tiny.tokenizer(toy.WORDS), max_length=48)
    return read(task.train[:count], Classify(), task.labels)


def every(model: AdaptedEncoder) -> list[Adapter]:
    """One of each method that can be routed, prefixes and prompts, scales and none at all among them."""
    kinds = [m for m in tiny.methods() if not isinstance(m, WeightMethod)]
    return [tiny.trained(method, model, seed) for seed, method in enumerate(kinds)]


def heads(model: AdaptedEncoder, count: int) -> list[tuple[Head, Params]]:
    """Of two kinds and unequal widths."""
    found: list[tuple[Head, Params]] = []
    for n in range(count):
        head: Head = Regress() if n % 3 == 2 else Classify()
        rng = generator(n, "head")
        params = head.init(model.width, 1 if n % 3 == 2 else 2 + n % 4, rng)
        found.append((head, {name: torch.randn(t.shape, generator=rng) for name, t in params.items()}))
    return found


def test_each_module_answers_as_it_does_alone() -> None:
    """peers.md 1.4: rows under IA3 and prompts are answered by another adapter there, and methods cannot be mixed."""
    model, data = tiny.adapted(), rows()
    adapters = every(model)
    assert {"IA3", "Prompt", "Prefix", "LoRA", "Bottleneck", "BitFit"} <= {type(a.method).__name__ for a in adapters}
    bank = heads(model, len(adapters))
    model.load(adapters)
    found = parallel.answers(model, HeadBank(bank), data)
    assert [len(own) for own in found] == [len(data)] * len(adapters)
    distinct = set()
    for adapter, head, said in zip(adapters, bank, found, strict=True):
        model.load([adapter])
        wanted = predict.answers(model, HeadBank([head]), data)
        if isinstance(head[0], Regress):
            assert said == pytest.approx(wanted, abs=1e-4)
        else:
            assert said == wanted
        distinct.add(str(wanted))
    assert len(distinct) > len(adapters) // 2  # else it would not show who answered


@torch.no_grad()
def test_a_widened_batch_is_the_batch_once_for_each_module() -> None:
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch()
    adapters = every(model)
    model.load(adapters)
    states = model.read(parallel.widened(batch, len(adapters)))
    for n, own in enumerate(states.pooled.split(len(batch.inputs))):
        model.load([adapters[n]])
        assert tiny.gap(own, model.read(batch).pooled) <= 1e-10


def test_rows_of_several_units_stay_together() -> None:
    batch = tiny.batch(rows=3)
    wide = parallel.widened(replace(batch, example=torch.tensor([0, 0, 1])), 2)
    assert wide.example is not None
    assert wide.member is not None
    assert wide.example.tolist() == [0, 0, 1, 2, 2, 3]
    assert wide.member.tolist() == [0, 0, 0, 1, 1, 1]


def test_one_module_is_defined() -> None:
    model, data = tiny.adapted(), rows(5)
    bank = HeadBank(heads(model, 1))
    model.load([tiny.trained(Bottleneck(8), model)])
    assert parallel.answers(model, bank, data) == [predict.answers(model, bank, data)]


def test_heads_must_be_as_many_as_modules_and_none_mixed() -> None:
    model, data = tiny.adapted(), rows(5)
    two = [tiny.trained(Bottleneck(8), model, seed) for seed in range(2)]
    model.load(two)
    with pytest.raises(ContinualError, match="got 3 heads for 2 adapters"):
        parallel.answers(model, HeadBank(heads(model, 3)), data)
    Fusion().install(model, two, seed=0)
    with pytest.raises(ContinualError, match="2 adapters, which a composition mixes"):
        parallel.answers(model, HeadBank(heads(model, 2)), data)
