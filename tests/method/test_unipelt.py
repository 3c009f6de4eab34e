"""UniPELT as one module: gates as published, equal to those of AdapterHub's library where nothing pads a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel

from continual import gate
from continual.adapter import SHARED, Adapter, fresh
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import wrap
from continual.encoder.merge import merge
from continual.encoder.noise import keep, keys
from continual.errors import ContinualError
from continual.method.base import Params
from continual.method.bundle import Bundle
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from continual.method.prompt import Prompt
from continual.method.unipelt import GatedBundle
from continual.types import Batch
from tests import tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "adapters"
LAYER = "bert.encoder.layer"
NETWORK = {
    "embedding": "wte.weight",
    "down": "control_trans.0.weight",
    "down_bias": "control_trans.0.bias",
    "up": "control_trans.2.weight",
    "up_bias": "control_trans.2.bias",
}
SMALL = GatedBundle({"bottleneck": {"reduction_factor": 8}, "prefix": {"length": 3}, "lora": {"rank": 2}})


def alone(model: AdaptedEncoder, adapter: Adapter, batch: Batch) -> Tensor:
    model.load([adapter])
    return model(replace(batch, member=None))


def gates(adapter: Adapter) -> Iterator[tuple[str, str, Tensor]]:
    for address, params in adapter.params.items():
        yield from ((address, name, t) for name, t in params.items() if name.endswith((".gate", ".gate_bias")))


def without_gates(adapter: Adapter) -> Adapter:
    """The same parts as a plain bundle: every gate is 1."""
    bundle = adapter.method
    assert isinstance(bundle, GatedBundle)
    left = {a: {n: t for n, t in p.items() if ".gate" not in n} for a, p in adapter.params.items()}
    methods = {name: {**values, "alpha": bundle.parts["lora"].alpha} if name == "lora" else values
               for name, values in bundle.methods.items()}  # fmt: skip
    return Adapter(Bundle(methods), left)


# What it says of itself


def test_each_part_has_a_gate_and_a_prefix_has_two_where_they_are_not_shared() -> None:
    assert GatedBundle().gates == {"bottleneck": 1, "prefix": 1, "lora": 1}
    assert GatedBundle(shared=False).gates == {"bottleneck": 1, "prefix": 2, "lora": 1}
    assert GatedBundle({"prefix_mlp": {}, "lora": {}}, shared=False, ungated=("lora",)).gates == {"prefix_mlp": 2}
    assert Bundle().gates == {}


def test_a_gate_takes_the_place_of_alpha_over_rank_unless_alpha_is_given() -> None:
    assert GatedBundle({"lora": {"rank": 4}}).parts["lora"] == LoRA(rank=4, alpha=4.0)
    assert GatedBundle({"lora": None}).parts["lora"] == LoRA(alpha=8.0)  # type: ignore[dict-item]  # as YAML gives it
    assert GatedBundle({"lora": {"rank": 4, "alpha": 2.0}}).parts["lora"] == LoRA(rank=4, alpha=2.0)
    assert GatedBundle({"lora": {}, "ia3": {}}, ungated=("lora",)).parts["lora"] == LoRA()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"methods": {}}, r"method\.methods is empty"),
        ({"methods": {"lora": {}}, "ungated": ("prefix",)}, r"ungated has 'prefix'; the bundle's parts are: lora"),
        ({"methods": {"lora": {}}, "ungated": ("lora",)}, "without any gate it is method=bundle"),
        ({"methods": {"lora": {}, "prompt": {}}}, r"prompt stands before the text, .*: method\.ungated=\[prompt\]"),
        ({"methods": {"unipelt": {}}}, "cannot have a bundle in a bundle"),
    ],
)
def test_what_cannot_be_gated_is_told(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ContinualError, match=told):
        GatedBundle(**arguments)


def test_what_is_kept_of_a_prefix_through_a_network_keeps_its_gates() -> None:
    bundle = GatedBundle({"prefix_mlp": {"length": 3}, "lora": {}}, ungated=("prefix_mlp",))
    settled = bundle.settled
    assert settled.gates == {"lora": 1}
    assert settled.parts == {"prefix": Prefix(3), "lora": LoRA(alpha=8.0)}
    assert settled.path() != replace(settled, ungated=()).path()


def test_gates_start_near_one_half_each_from_a_stream_of_its_own() -> None:
    model = tiny.adapted()
    adapter = fresh(GatedBundle(shared=False), model.shapes, model.weights, 0)
    found = {(address, name): tensor for address, name, tensor in gates(adapter)}
    assert len(found) == 2 * 4 * 2  # two layers of bottleneck, prefix and two LoRAs, weight and bias
    assert {tuple(t.shape) for (address, name), t in found.items() if "prefix" in name} == {(2, 32), (2,)}
    weights = [t for (_, name), t in found.items() if name.endswith(".gate")]
    assert all(not t.any() for (_, name), t in found.items() if name.endswith("bias"))
    assert abs(float(torch.cat(weights).std()) - 0.02) < 0.003
    assert len({float(t.sum()) for t in weights}) == len(weights)
    again = fresh(GatedBundle(shared=False), model.shapes, model.weights, 0)
    assert tiny.equal(again.params, adapter.params)
    model.load([adapter])
    plain = fresh(Bundle(), model.shapes, model.weights, 0)
    assert adapter.size == plain.size + sum(t.numel() for t in found.values())


# What it computes


def golden() -> AdaptedEncoder:
    model = BertModel(BertConfig.from_pretrained(GOLDEN / "base"))
    model.load_state_dict(load_file(GOLDEN / "base" / "model.safetensors"))
    return AdaptedEncoder(wrap(model, tiny.tokenizer(), name="golden", max_length=48))


def theirs(layer: int) -> dict[str, dict[str, str]]:
    """Our names at the sites of a layer -> the names of their tensors."""
    down, up = (
        f"{LAYER}.{layer}.output.adapters.task.adapter_down.0.",
        f"{LAYER}.{layer}.output.adapters.task.adapter_up.",
    )
    found = {
        "ffn_norm": {
            "bottleneck.down": f"{down}weight",
            "bottleneck.down_bias": f"{down}bias",
            "bottleneck.up": f"{up}weight",
            "bottleneck.up_bias": f"{up}bias",
            "bottleneck.gate": f"{LAYER}.{layer}.output.adapters.task.gate.weight",
            "bottleneck.gate_bias": f"{LAYER}.{layer}.output.adapters.task.gate.bias",
        }
    }
    for linear in ("query", "value"):
        own = f"{LAYER}.{layer}.attention.self.{linear}.loras.task."
        names = {"a": "lora_A", "b": "lora_B", "gate": "gate.weight", "gate_bias": "gate.bias"}
        found[linear] = {f"lora.{ours}": own + name for ours, name in names.items()}
    return found


def test_through_a_network_answers_and_gradients_equal_those_of_adapters() -> None:
    """The whole published form as it is trained; the flat form is in tests/exchange/test_adapterhub.py."""
    tensors, expected = (load_file(GOLDEN / "unipelt" / f"{name}.safetensors") for name in ("adapter", "expected"))
    prefix_gate = [f"{LAYER}.{i}.attention.self.prefix_tuning.prefix_gates.task." for i in (0, 1)]
    shared = {f"prefix_mlp.{ours}": tensors[f"bert.prefix_tuning.prefix_tunings.task.self_prefix.{name}"]
              for ours, name in NETWORK.items()}  # fmt: skip
    shared["prefix_mlp.gate"] = torch.stack([tensors[f"{key}weight"] for key in prefix_gate])
    shared["prefix_mlp.gate_bias"] = torch.stack([tensors[f"{key}bias"] for key in prefix_gate])
    params = {SHARED: shared}
    names = {f"{layer}/{site}": own for layer in (0, 1) for site, own in theirs(layer).items()}
    for address, own in names.items():
        scale = {"bottleneck.scale" if "ffn" in address else "lora.scale": torch.tensor(1.0)}
        params[address] = {ours: tensors[name] for ours, name in own.items()} | scale
    method = GatedBundle(
        {"prefix_mlp": {"length": 5, "bottleneck": 16}, "bottleneck": {"reduction_factor": 4}, "lora": {"rank": 4}}
    )
    model = golden()
    start = fresh(method, model.shapes, model.weights, 0).params
    assert {a: {n: t.shape for n, t in p.items()} for a, p in start.items()} == {
        a: {n: t.shape for n, t in p.items()} for a, p in params.items()
    }
    model.load([Adapter(method, params)], train=[0])
    data = load_file(GOLDEN / "base" / "inputs.safetensors")
    states = model(Batch(data["input_ids"], data["attention_mask"], torch.arange(3)))
    assert tiny.gap(states, expected["hidden"]) <= 1e-5
    (states * data["probe"][:, :9]).sum().backward()

    def same(found: Tensor, key: str) -> None:
        wanted = expected[f"grad/{key}"]
        assert tiny.gap(found, wanted) <= 1e-4 * float(wanted.abs().max()), key

    for address, own in names.items():
        [group] = model.sites[address].stacks
        for ours, name in own.items():
            same(group.stack[ours.partition(".")[2]].grad[0], name)
    [group] = model.shared.stacks
    for ours, name in NETWORK.items():
        same(group.stack[ours].grad[0], f"bert.prefix_tuning.prefix_tunings.task.self_prefix.{name}")
    for layer, key in enumerate(prefix_gate):
        same(group.stack["gate"].grad[0, layer], f"{key}weight")
        same(group.stack["gate_bias"].grad[0, layer], f"{key}bias")
    flat = model.take()
    assert isinstance(flat.method, GatedBundle)
    assert tiny.gap(alone(model, flat, Batch(data["input_ids"], None, torch.arange(3))), states) <= 1e-6


def by_hand(p: Params, part: str, read: Tensor, mask: Tensor) -> Tensor:
    """The gates of each row, text by text and token by token, (B, n)."""
    rows = []
    for states, live in zip(read, mask.bool(), strict=True):
        tokens = [torch.sigmoid(p[f"{part}.gate"] @ h + p[f"{part}.gate_bias"]) for h in states[live]]
        rows.append(sum(tokens) / len(tokens))
    return torch.stack(rows)


@pytest.mark.parametrize("shared", [True, False])
@torch.no_grad()
def test_by_hand_each_text_has_its_own_gates_in_each_layer(shared: bool) -> None:
    """The first layer of a tiny BERT: its attention with prefix and LoRA, and its norm with the bottleneck."""
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch(rows=3, tokens=6, short=4)
    adapter = tiny.trained(replace(SMALL, shared=shared), model)
    layer = model.encoder.encoder.layer[0]
    seen: dict[str, Any] = {}
    handles = [
        layer.attention.self.register_forward_hook(lambda _m, args, out: seen.update(x=args[0], context=out[0])),
        layer.output.register_forward_hook(lambda _m, args, out: seen.update(dense=args[0], rest=args[1], out=out)),
    ]
    alone(model, adapter, batch)
    for handle in handles:
        handle.remove()
    x, mask, p = seen["x"], batch.mask, adapter.params

    def linear(name: str) -> Tensor:
        plain = F.linear(x, getattr(layer.attention.self, name).weight, getattr(layer.attention.self, name).bias)
        own = p.get(f"0/{name}")
        if own is not None:
            plain = plain + by_hand(own, "lora", x, mask)[:, None] * (
                x @ own["lora.a"].T @ own["lora.b"].T * own["lora.scale"]
            )
        return plain.unflatten(-1, (4, 8))

    opened = by_hand(p["0/attention"], "prefix", x, mask)
    k, v = linear("key"), linear("value")
    k = torch.cat([opened[:, 0, None, None, None] * p["0/attention"]["prefix.key"], k], 1)
    v = torch.cat([opened[:, -1, None, None, None] * p["0/attention"]["prefix.value"], v], 1)
    scores = torch.einsum("bqhd,bkhd->bhqk", linear("query"), k) / 8**0.5
    visible = F.pad(mask.bool(), (3, 0), value=True)[:, None, None]
    context = torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~visible, -torch.inf).softmax(-1), v).flatten(2)
    live = mask.bool()
    assert tiny.gap(seen["context"][live], context[live]) < 1e-12

    norm, own = layer.output.LayerNorm, p["0/ffn_norm"]
    total = F.linear(seen["dense"], layer.output.dense.weight, layer.output.dense.bias) + seen["rest"]
    y = F.layer_norm(total, (32,), norm.weight, norm.bias, norm.eps)
    hidden = torch.relu(y @ own["bottleneck.down"].T + own["bottleneck.down_bias"])
    delta = hidden @ own["bottleneck.up"].T + own["bottleneck.up_bias"]
    delta = delta * own["bottleneck.scale"]
    wanted = total + by_hand(own, "bottleneck", y, mask)[:, None] * delta
    assert tiny.gap(seen["out"][live], F.layer_norm(wanted, (32,), norm.weight, norm.bias, norm.eps)[live]) < 1e-12
    assert by_hand(p["0/attention"], "prefix", x, mask).std(0).min() > 1e-3  # no two texts are gated alike


def padded(batch: Batch, size: int) -> Batch:
    more = size - batch.inputs.shape[1]
    return replace(batch, inputs=F.pad(batch.inputs, (0, more)), mask=F.pad(batch.mask, (0, more)))


@torch.no_grad()
def test_padding_never_moves_an_answer_and_the_mean_of_the_reference_would(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.adapted()
    model.load([tiny.trained(GatedBundle(shared=False), model)])
    batch = tiny.batch(tokens=12)
    live = batch.mask.bool()

    def moved() -> float:
        return tiny.gap(model(padded(batch, 40))[:, :12][live], model(batch)[live])

    assert moved() < 1e-5
    averaged = gate._averaged
    monkeypatch.setattr(gate, "_averaged", lambda scores, mask: averaged(scores, None))
    assert moved() > 1e-2


@torch.no_grad()
def test_a_text_of_512_tokens_of_padding_is_gated_as_without() -> None:
    """In float32, and where bfloat16 could not count the tokens."""
    p = {name: tensor * 20 for name, tensor in gate.fresh(2, 16, torch.Generator().manual_seed(0)).items()}
    read = torch.randn(3, 300, 16, generator=torch.Generator().manual_seed(1))
    wanted = torch.sigmoid(read @ p["gate"].T + p["gate_bias"]).mean(1)
    mask = F.pad(torch.ones(3, 300, dtype=torch.long), (0, 212))
    wide = F.pad(read, (0, 0, 0, 212), value=3.0)
    assert tiny.gap(gate.opening(p, wide, mask), wanted) < 1e-6
    half = {name: tensor.bfloat16() for name, tensor in p.items()}
    assert tiny.gap(gate.opening(half, wide.bfloat16(), mask), wanted) < 5e-3
    assert torch.equal(gate.opening(p, read, torch.zeros(3, 300)), torch.zeros(3, 2))  # a text of nothing


@torch.no_grad()
def test_alpha_counts_beside_a_gate() -> None:
    """In `adapters` alpha 2 and 200 answer alike."""
    model, batch = tiny.adapted(), tiny.batch()
    answers = []
    for alpha in (2.0, 200.0):
        method = GatedBundle({"lora": {"rank": 2, "alpha": alpha}})
        answers.append(alone(model, tiny.trained(method, model), batch))
    assert tiny.gap(*answers) > 0.1


@torch.no_grad()
def test_open_gates_are_the_plain_bundle_and_shut_ones_leave_keys_of_zero() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    adapter = tiny.trained(SMALL, model)
    plain = without_gates(adapter)
    wanted, gated = alone(model, plain, batch), alone(model, adapter, batch)
    assert tiny.gap(gated, wanted) > 0.05
    for bias, like in ((40.0, plain), (-80.0, None)):
        for _, name, tensor in gates(adapter):
            tensor.fill_(bias if name.endswith("bias") else 0.0)
        if like is None:  # no delta, but a prefix of zeros
            zeros = {a: {n: torch.zeros_like(t) for n, t in p.items()} for a, p in plain.params.items() if "att" in a}
            like = Adapter(plain.method, zeros)
        found = alone(model, adapter, batch)
        assert tiny.gap(found, alone(model, like, batch)) < 1e-5
    model.load([])
    assert tiny.gap(model(batch), found) > 1e-3  # g = 0 is not "no prefix"


# In a stack


MANY = [
    SMALL,
    GatedBundle({"bottleneck": {"reduction_factor": 4}, "prefix": {"length": 5}, "lora": {"rank": 4, "alpha": 9.0}}),
    GatedBundle({"prefix": {"length": 2}, "lora": {"rank": 1}}, shared=False),
    GatedBundle({"prefix_mlp": {"length": 4, "bottleneck": 8}, "ia3": {}, "bottleneck": {}}, ungated=("bottleneck",)),
    Bundle({"bottleneck": {"reduction_factor": 8}, "prefix": {"length": 3}, "lora": {"rank": 2}}),
    Prompt(4),
    LoRA(),
    GatedBundle({"prompt": {"length": 2}, "lora": {"rank": 3}}, ungated=("prompt",)),
]


@torch.no_grad()
def test_a_routed_batch_of_gated_and_other_modules_equals_each_alone() -> None:
    model = tiny.adapted(dtype=torch.float64)
    adapters = [tiny.trained(method, model, seed) for seed, method in enumerate(MANY)]
    batch = tiny.batch(rows=16)
    batch.member = torch.arange(16) % 8
    live = batch.mask.bool()
    wanted = [alone(model, adapter, batch) for adapter in adapters]
    model.load(adapters)
    found = model(batch)
    for member, answer in enumerate(wanted):
        mine = batch.member == member
        assert tiny.gap(found[mine][live[mine]], answer[mine][live[mine]]) < 1e-12, MANY[member]
        if member != 3:  # which is kept as a flat prefix
            assert tiny.equal(model.take(member).params, adapters[member].params)


def test_modules_that_differ_in_size_alone_share_a_stack_and_learn_as_alone() -> None:
    model = tiny.adapted(dtype=torch.float64)
    adapters = [tiny.trained(method, model, seed) for seed, method in enumerate(MANY[:2])]
    batch = tiny.batch()
    batch.member = torch.arange(6) % 2
    model.load(adapters, train=[0, 1])
    assert [len(site.stacks) for a, site in model.sites.items() if site.stacks] == [1] * 8
    assert {"gate", "gate_bias"} < {n for n in model.sites["0/query"].stacks[0].stack}
    model(batch)[:, 0].square().sum().backward()
    grads = [{(a, n): t.grad for a, s in model.sites.items() for g in s.stacks for n, t in g.stack.items()}]
    trained = {id(parameter): owners for parameter, owners in model.slices()}
    assert all(owners == (0, 1) for owners in trained.values())
    for member, adapter in enumerate(adapters):
        mine = batch.member == member
        model.load([adapter], train=[0])
        model(Batch(batch.inputs[mine], batch.mask[mine], batch.row[mine]))[:, 0].square().sum().backward()
        for address, site in model.sites.items():
            for group in site.stacks:
                for name, parameter in group.stack.items():
                    if parameter.requires_grad:
                        whole = grads[0][address, name][member]
                        own = whole[tuple(slice(n) for n in parameter.shape[1:])]
                        assert tiny.gap(own, parameter.grad[0]) < 1e-10, (address, name)
                        assert parameter.grad.any()
                        assert float(whole.abs().sum() - own.abs().sum()) == pytest.approx(0.0, abs=1e-12)


def test_a_member_of_nothing_but_nan_spoils_neither_answers_nor_gradients_of_others() -> None:
    model = tiny.adapted()
    good = [tiny.trained(SMALL, model), tiny.trained(MANY[1], model), tiny.trained(LoRA(), model)]
    broken = tiny.trained(SMALL, model)
    broken = Adapter(broken.method, {a: {n: t * torch.nan for n, t in p.items()} for a, p in broken.params.items()})
    lone = tiny.trained(LoRA(targets=("query", "ffn_in")), model)
    lone = Adapter(lone.method, {a: {n: t * torch.nan for n, t in p.items()} for a, p in lone.params.items()})
    model.load([*good, broken, lone], train=range(5))
    batch = tiny.batch(rows=10, short=9)
    batch.member = torch.arange(10) % 5
    found, ok = model(batch), batch.member < 3
    assert found[~ok].isnan().any()
    assert found[ok].isfinite().all()
    found[ok].square().mean().backward()
    for parameter, owners in model.slices():
        for slot, owner in enumerate(owners):
            assert owner > 2 or parameter.grad[slot].isfinite().all()


@torch.no_grad()
def test_dropout_acts_on_what_a_part_reads_and_not_on_its_gate() -> None:
    """As in `adapters`: the gate of a text is the same in training and evaluation."""
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch(rows=3)
    adapter = tiny.trained(GatedBundle({"lora": {"rank": 2, "dropout": 0.5}}), model)
    model.load([adapter], train=[0])
    query, seen = model.encoder.encoder.layer[0].attention.self.query, {}
    handle = query.register_forward_hook(lambda _m, args, out: seen.update(x=args[0], out=out))
    seed, batch.step = torch.arange(3), torch.zeros(3, dtype=torch.long)
    model(batch, seed)
    handle.remove()
    x, p = seen["x"], adapter.params["0/query"]
    mask = keep(keys(seed, batch.step, batch.row), x.shape, model.sites["0/query"].number, 0.5)
    delta = (x * mask) @ p["lora.a"].T @ p["lora.b"].T * p["lora.scale"]
    wanted = F.linear(x, query.weight, query.bias) + by_hand(p, "lora", x, batch.mask)[:, None] * delta
    assert tiny.gap(seen["out"], wanted) < 1e-12


def test_every_gate_learns() -> None:
    model = tiny.adapted()
    start = fresh(replace(SMALL, shared=False), model.shapes, model.weights, 0)
    [learned] = tiny.train(model, tiny.request(model, start))
    after = {(address, name): tensor for address, name, tensor in gates(learned.adapter)}
    assert after
    for address, name, tensor in gates(start):
        assert not torch.equal(after[address, name], tensor), (address, name)


# What is refused


@pytest.mark.parametrize("part", ["lora", "bottleneck", "prefix", "ia3"])
def test_gated_modules_are_not_merged(part: str) -> None:
    model = tiny.adapted()
    adapter = tiny.trained(GatedBundle({part: {}}), model)
    with pytest.raises(ContinualError, match=r"unipelt cannot be merged at 0/.*its gates depend on the text.*load it"):
        merge(model, adapter)


@pytest.mark.parametrize(
    ("address", "name", "size"),
    [
        ("0/query", "lora.gate", (1, 16)),
        ("0/query", "lora.gate", (2, 32)),
        ("0/query", "lora.gate_bias", ()),
        ("1/attention", "prefix.gate_bias", (3,)),
        ("1/ffn_norm", "bottleneck.gate", (1, 64)),
    ],
)
def test_gates_of_another_shape_are_refused_when_they_are_loaded(address: str, name: str, size: tuple[int]) -> None:
    model = tiny.adapted()
    adapter = tiny.trained(GatedBundle(), model)
    adapter.params[address][name] = torch.zeros(size)
    with pytest.raises(ContinualError, match=rf"{address}: \w+ with .*gate.* does not fit a site that reads 32"):
        model.load([adapter])
    del adapter.params[address][name]
    with pytest.raises(ContinualError, match="does not fit"):
        model.load([adapter])
