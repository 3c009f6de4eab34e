"""Prefixes equal those of AdapterHub's library, flat and through a network; what is stored is flat."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel

from continual.adapter import SHARED, Adapter, fresh
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import wrap
from continual.errors import ContinualError
from continual.method.prefix import Prefix
from continual.method.prefix_mlp import PrefixMLP
from continual.types import Batch, Shape
from tests import tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "adapters"
PREFIX = "bert.prefix_tuning.prefix_tunings.task.self_prefix."
MLP = {
    "embedding": "wte.weight",
    "down": "control_trans.0.weight",
    "down_bias": "control_trans.0.bias",
    "up": "control_trans.2.weight",
    "up_bias": "control_trans.2.bias",
}


def encoder() -> AdaptedEncoder:
    model = BertModel(BertConfig.from_pretrained(GOLDEN / "base"))
    model.load_state_dict(load_file(GOLDEN / "base" / "model.safetensors"))
    return AdaptedEncoder(wrap(model, tiny.tokenizer(), name="golden", max_length=48))


def inputs(end: str = "") -> Batch:
    found = load_file(GOLDEN / "base" / "inputs.safetensors")
    return Batch(inputs=found[f"input_ids{end}"], mask=found[f"attention_mask{end}"], row=torch.arange(3))


def case(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return load_file(GOLDEN / name / "adapter.safetensors"), load_file(GOLDEN / name / "expected.safetensors")


def test_through_a_network_answers_and_gradients_equal_those_of_adapters() -> None:
    theirs, expected = case("prefix_mlp")
    model = encoder()
    params = {ours: theirs[PREFIX + name] for ours, name in MLP.items()}
    model.load([Adapter(PrefixMLP(5, bottleneck=16), {SHARED: params})], train=[0])
    states = model(inputs())
    assert tiny.gap(states, expected["hidden"]) <= 1e-5
    assert tiny.gap(model(inputs("_padded")), expected["hidden_padded"]) <= 1e-5
    probe = load_file(GOLDEN / "base" / "inputs.safetensors")["probe"]
    (states * probe[:, :9]).sum().backward()
    for ours, name in MLP.items():
        wanted = expected[f"grad/{PREFIX}{name}"]
        found = model.shared.stacks[0].stack[ours].grad[0]
        assert tiny.gap(found, wanted) <= 1e-4 * float(wanted.abs().max()), name


def test_what_is_taken_out_is_the_flat_prefix_that_the_network_says() -> None:
    theirs, expected = case("prefix_mlp")
    model = encoder()
    params = {ours: theirs[PREFIX + name] for ours, name in MLP.items()}
    model.load([Adapter(PrefixMLP(5, bottleneck=16), {SHARED: params})])
    taken = model.take()
    assert taken.method == Prefix(5)
    for layer in (0, 1):
        for name in ("key", "value"):
            wanted = expected[f"prefix/{layer}/{name}"]
            assert tiny.gap(taken.params[f"{layer}/attention"][name].transpose(0, 1), wanted) <= 1e-6
    model.load([taken])
    assert tiny.gap(model(inputs("_padded")), expected["hidden_padded"]) <= 1e-5


@pytest.mark.parametrize(("name", "layers"), [("prefix_flat", None), ("prefix_leave_out", "1")])
def test_a_flat_prefix_answers_as_that_of_adapters(name: str, layers: str | None) -> None:
    theirs, expected = case(name)
    model = encoder()
    chosen = fresh(Prefix(5, layers=layers), model.shapes, model.weights, 0).params
    flat = theirs[PREFIX + "control_trans"].view(5, 2 * len(chosen), 4, 8)
    params = {address: {"key": flat[:, 2 * i], "value": flat[:, 2 * i + 1]} for i, address in enumerate(chosen)}
    model.load([Adapter(Prefix(5, layers=layers), params)], train=[0])
    states = model(inputs())
    assert tiny.gap(states, expected["hidden"]) <= 1e-5
    assert tiny.gap(model(inputs("_padded")), expected["hidden_padded"]) <= 1e-5
    probe = load_file(GOLDEN / "base" / "inputs.safetensors")["probe"]
    (states * probe[:, :9]).sum().backward()
    wanted = expected[f"grad/{PREFIX}control_trans"].view(5, 2 * len(chosen), 4, 8)
    for i, address in enumerate(chosen):
        stack = model.sites[address].stacks[0].stack
        assert tiny.gap(stack["key"].grad[0], wanted[:, 2 * i]) <= 1e-4 * float(wanted.abs().max())
        assert tiny.gap(stack["value"].grad[0], wanted[:, 2 * i + 1]) <= 1e-4 * float(wanted.abs().max())


def test_by_hand_each_head_attends_to_its_prefix_too() -> None:
    """softmax(q [P_K; K]ᵀ / √d_head + mask) [P_V; V], on the first layer of a tiny BERT."""
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch()
    adapter = tiny.trained(Prefix(3, layers="0"), model)
    found = {}
    attention = model.encoder.encoder.layer[0].attention.self
    handle = attention.register_forward_hook(lambda module, args, out: found.update(x=args[0], out=out[0]))
    model.load([adapter])
    model(batch)
    handle.remove()
    q, k, v = (
        F.linear(found["x"], getattr(attention, name).weight, getattr(attention, name).bias).unflatten(-1, (4, 8))
        for name in ("query", "key", "value")
    )
    p = adapter.params["0/attention"]
    keys, values = (torch.cat([p[n].expand(6, -1, -1, -1), t], 1) for n, t in (("key", k), ("value", v)))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, keys) / 8**0.5
    mask = F.pad(batch.mask.bool(), (3, 0), value=True)[:, None, None]
    wanted = torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~mask, -torch.inf).softmax(-1), values).flatten(2)
    live = batch.mask.bool()
    assert tiny.gap(found["out"][live], wanted[live]) < 1e-12


def test_prefixes_of_unequal_length_share_a_batch() -> None:
    model = tiny.adapted(dtype=torch.float64)
    adapters = [tiny.trained(Prefix(length), model, length) for length in (1, 4, 2)]
    batch = tiny.batch()
    wanted = []
    for adapter in adapters:
        model.load([adapter])
        wanted.append(model(batch))
    model.load(adapters, train=[0, 1, 2])
    batch.member = torch.arange(6) % 3
    states = model(batch)
    live = batch.mask.bool()
    for member in range(3):
        mine = batch.member == member
        assert tiny.gap(states[mine][live[mine]], wanted[member][mine][live[mine]]) < 1e-12
        assert tiny.equal(model.take(member).params, adapters[member].params)
    states.square().sum().backward()
    gradient = model.sites["0/attention"].stacks[0].stack["key"].grad
    assert gradient[0, :1].any()
    assert not gradient[0, 1:].any()  # what a shorter prefix does not have is never trained


def test_the_network_runs_once_a_forward_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.adapted()
    model.load([tiny.trained(PrefixMLP(2, bottleneck=4), model)])
    sizes = []
    spread = PrefixMLP.spread

    def counting(self: PrefixMLP, p: dict[str, Tensor], shapes: list[Shape]) -> list[dict[str, Tensor]]:
        sizes.append(tuple(p["embedding"].shape))
        return spread(self, p, shapes)

    monkeypatch.setattr(PrefixMLP, "spread", counting)
    model(tiny.batch())
    assert sizes == [(2, 32)]


@pytest.mark.parametrize("method", [Prefix, PrefixMLP])
def test_a_prefix_of_nothing_is_refused(method: type) -> None:
    with pytest.raises(ContinualError, match=r"method\.length must be at least 1, got 0"):
        method(length=0)
