"""The Fisher information against gradients of the encoder's own weights, row by row, without any site."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual.adapter import WEIGHTS, Adapter, generator
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.merge import merged
from continual.errors import ContinualError
from continual.head.classify import Classify
from continual.head.retrieve import Retrieve
from continual.information import fisher
from continual.merging.fisher import Fisher
from continual.merging.mean import Mean
from continual.method.base import Params
from continual.method.bitfit import BitFit
from continual.method.bundle import Bundle
from continual.method.full import Full
from continual.method.lora import LoRA
from continual.method.sparse import Sparse
from continual.space.vector import Vector, vector
from continual.stream.text import Reader
from continual.stream.units import Encoded
from continual.task_streams import toy
from tests import mixed, tiny

from .making import METHODS, module, says

BERT = {"query": "attention.self.query", "value": "attention.self.value", "ffn_out": "output.dense"}
TASK = toy.tasks()[0]


@pytest.fixture
def model() -> AdaptedEncoder:
    return AdaptedEncoder(tiny.encoder(words=toy.WORDS))


@pytest.fixture
def rows() -> Encoded:
    reader = Reader(tiny.tokenizer(toy.WORDS), max_length=48)
    return reader_rows(reader, 7)


def reader_rows(reader: Reader, count: int) -> Encoded:
    return Classify().read(reader, TASK.train[:count], TASK.labels)


def head(model: AdaptedEncoder) -> Params:
    params = Classify().init(model.width, len(TASK.labels), generator(0, "head"))
    return {name: t + torch.randn(t.shape, generator=generator(1, name)) * 0.5 for name, t in params.items()}


def by_hand(plain: Any, params: Params, data: Encoded, names: list[str]) -> dict[str, Tensor]:
    """1/R Σ_i g_i², g_i the gradient of -log softmax of the right label of row i, by plain transformers and torch."""
    weights = dict(plain.named_parameters())
    total = {name: torch.zeros_like(weights[name]) for name in names}
    for name in names:
        weights[name].requires_grad_(True)
    for ids, target in zip(data.inputs, data.targets, strict=True):
        states = plain(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None]).last_hidden_state
        logits = F.linear(states[0].mean(0), params["weight"], params["bias"])
        gradients = torch.autograd.grad(-logits.log_softmax(-1)[int(target)], [weights[name] for name in names])
        for name, gradient in zip(names, gradients, strict=True):
            total[name] += gradient**2
    return {name: t / len(data) for name, t in total.items()}


def path(address: str) -> str:
    layer, site = address.split("/")
    return f"encoder.layer.{layer}.{BERT[site]}"


def close(found: Tensor, wanted: Tensor) -> None:
    assert wanted.max() > 1e-6
    torch.testing.assert_close(found, wanted, atol=1e-4 * float(wanted.max()), rtol=1e-3)


def test_of_a_lora_it_is_that_of_the_matrices(model: AdaptedEncoder, rows: Encoded) -> None:
    adapter = module(model, LoRA(rank=2, targets=("query", "ffn_out")))
    params = head(model)
    found = fisher(model, adapter, Classify(), params, rows, rows=100)
    assert found.keys() == vector(adapter).keys()
    plain = merged(model, adapter)
    wanted = by_hand(plain, params, rows, [f"{path(address)}.weight" for address in adapter.params])
    for key, tensor in found.items():
        close(tensor, wanted[f"{path(key.rsplit('/', 1)[0])}.weight"])


def test_of_biases_and_of_whole_or_few_weights(model: AdaptedEncoder, rows: Encoded) -> None:
    params = head(model)
    biases = module(model, BitFit(targets=("query", "value")))
    found = fisher(model, biases, Classify(), params, rows, rows=100)
    wanted = by_hand(merged(model, biases), params, rows, [f"{path(address)}.bias" for address in biases.params])
    for key, tensor in found.items():
        close(tensor, wanted[f"{path(key.rsplit('/', 1)[0])}.bias"])

    full = module(model, Full(layers="1"))
    found = fisher(model, full, Classify(), params, rows, rows=100)
    plain = copy.deepcopy(model.encoder)
    assert isinstance(full.method, Full)
    changed = full.method.changed(full.params[WEIGHTS], model.weights)
    with torch.no_grad():
        for name, value in changed.items():
            plain.get_parameter(name).copy_(value)
    model.release()  # the copy took its hooks along; empty, they change nothing
    wanted = by_hand(plain, params, rows, list(changed))
    for key, tensor in found.items():
        name = key.split("/")[-1].replace(":", ".")
        if not name.endswith("key.bias"):  # zero but for rounding
            close(tensor, wanted[name])


def test_of_a_sparse_module_it_is_that_of_its_positions(model: AdaptedEncoder, rows: Encoded) -> None:
    few = module(model, Sparse(density=0.02, rule="random"))
    params = head(model)
    found = fisher(model, few, Classify(), params, rows, rows=100)
    assert isinstance(few.method, Sparse)
    changed = few.method.changed(few.params[WEIGHTS], model.weights)
    delta = {n.replace(".", ":"): changed.get(n, w).detach() - w for n, w in model.weights.items()}
    whole = fisher(model, Adapter(Full(), {WEIGHTS: delta}), Classify(), params, rows, rows=100)
    every = torch.cat([whole[f"{WEIGHTS}/{name}"].flatten() for name in delta])
    torch.testing.assert_close(
        found[f"{WEIGHTS}/value"], every[few.params[WEIGHTS]["index"].long()], atol=1e-6, rtol=1e-3
    )


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_has_one_and_is_merged_with_it(kind: str, model: AdaptedEncoder, rows: Encoded) -> None:
    parents = [module(model, METHODS[kind], seed) for seed in range(2)]
    fishers = [fisher(model, parent, Classify(), head(model), rows, rows=4) for parent in parents]
    for parent, found in zip(parents, fishers, strict=True):
        assert {k: t.shape for k, t in found.items()} == {k: t.shape for k, t in vector(parent).items()}
    combined = Fisher().merge(parents, fishers)
    assert says(model, combined).isfinite().all()
    assert combined.digest() != Mean().merge(parents).digest()


def test_a_bundle_has_that_of_its_parts(model: AdaptedEncoder, rows: Encoded) -> None:
    """With one part at zero, the other is as alone."""
    lora = module(model, LoRA(rank=2))
    params = {address: {f"lora.{name}": t for name, t in own.items()} for address, own in lora.params.items()}
    for address in ("0/query", "1/ffn_out"):
        params.setdefault(address, {})["bitfit.bias"] = torch.zeros(32)
    both = Adapter(Bundle({"lora": {"rank": 2}, "bitfit": {"targets": ("query", "ffn_out")}}), params)
    found = fisher(model, both, Classify(), head(model), rows, rows=5)
    alone = fisher(model, lora, Classify(), head(model), rows, rows=5)
    for key, tensor in alone.items():
        close(found[key.replace("/b", "/lora.b")], tensor)
    assert found["1/ffn_out/bitfit.bias"].any()


def test_rows_are_drawn_by_the_seed_and_no_more_than_asked_for(model: AdaptedEncoder, rows: Encoded) -> None:
    adapter = module(model, BitFit())

    def measured(count: int, seed: int) -> Vector:
        return fisher(model, adapter, Classify(), head(model), rows, rows=count, seed=seed)

    def same(one: Vector, other: Vector) -> bool:
        return all(torch.allclose(one[key], other[key], rtol=1e-4, atol=1e-9) for key in one)

    assert same(measured(3, 0), measured(3, 0))
    assert not same(measured(3, 0), measured(3, 1))
    assert same(measured(7, 0), measured(70, 1))
    singles = [fisher(model, adapter, Classify(), head(model), one, rows=1) for one in apart(rows)]
    mean = {key: torch.stack([one[key] for one in singles]).mean(0) for key in singles[0]}
    assert same(measured(7, 0), mean)
    with pytest.raises(ContinualError, match="at least 1 row"):
        measured(0, 0)


def apart(rows: Encoded) -> list[Encoded]:
    reader = Reader(tiny.tokenizer(toy.WORDS), max_length=48)
    return [Classify().read(reader, [row], TASK.labels) for row in TASK.train[: len(rows)]]


def test_the_encoder_is_left_bare_and_the_module_as_it_was(model: AdaptedEncoder, rows: Encoded) -> None:
    adapter = module(model, LoRA())
    before = adapter.digest()
    fisher(model, adapter, Classify(), head(model), rows, rows=2)
    assert adapter.digest() == before
    assert model.loaded == ()
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())


def test_a_loss_between_rows_is_refused(model: AdaptedEncoder) -> None:
    [task] = mixed.tasks(heads=("search",))
    data = Retrieve().read(Reader(tiny.tokenizer(toy.WORDS), max_length=48), task.train, task.labels)
    params = Retrieve().init(model.width, 0, generator(0))
    with pytest.raises(ContinualError, match=r"one row alone has no gradient.*Retrieve"):
        fisher(model, module(model, LoRA()), Retrieve(), params, data, rows=3)
