"""UniPELT's gates: one number per module, site and text, whatever pads the text."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual import gate
from continual.adapter import Adapter
from continual.composition import Watch, name_of, restore
from continual.composition.base import Composition, Mixer, mixer_params
from continual.composition.fusion import Fusion, direct
from continual.composition.gates import Gates
from continual.composition.unipelt import UniPELT
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Site
from continual.errors import ContinualError
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from continual.method.prefix_mlp import PrefixMLP
from continual.method.prompt import Prompt
from continual.method.unipelt import GatedBundle
from tests import running, tiny

from .mixing import STACKS, ByHand, adapters, scatter


def naive(mixer: Mixer, site: Site, x: Tensor, y: Tensor, mask: Tensor, deltas: list[Tensor]) -> Tensor:
    """Row by row, module by module, token by token."""
    rows = []
    for row in range(len(mask)):
        total = torch.zeros_like(y[row])
        for member, delta in enumerate(deltas):
            method, weight, bias = gate_of(mixer, site, member)
            read = x if method.reads == "x" else y
            tokens = [float((read[row, t] @ weight + bias).sigmoid()) for t in range(mask.shape[1]) if mask[row, t]]
            total += sum(tokens) / len(tokens) * delta[row]
        rows.append(total)
    return torch.stack(rows)


def gate_of(mixer: Mixer, site: Site, member: int) -> tuple[object, Tensor, Tensor]:
    for group, weight, bias in zip(site.groups, mixer.weight, mixer.bias, strict=True):
        if member < len(group.owners):
            return group.method, weight[member], bias[member]
        member -= len(group.owners)
    raise IndexError(member)


@torch.no_grad()
def test_gates_are_the_mean_over_the_tokens_of_each_text() -> None:
    batch = tiny.batch(rows=4, tokens=6, short=3)
    for stack in STACKS:
        model = tiny.adapted(dtype=torch.float64)
        UniPELT().install(model, adapters(model, stack), seed=1)
        scatter(model)
        found = model(batch)
        with ByHand(model, naive):
            assert tiny.gap(model(batch), found) <= 1e-10


def pair(model: AdaptedEncoder) -> list[Adapter]:
    kinds = Bottleneck(8), LoRA(rank=4), LoRA(rank=2, targets=("ffn_norm",))
    return [tiny.trained(method, model) for method in kinds]


@torch.no_grad()
def test_gates_start_near_one_half_and_stay_between_zero_and_one() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    UniPELT().install(model, pair(model), seed=1)
    seen: list[Tensor] = []
    for mixer in model.mixers().values():
        mixer.register_forward_hook(lambda module, args, _: seen.append(module.weights(*args)))
    model(batch)
    assert len(seen) == 2 * 3
    for gates, n in zip(seen, [1, 1, 2] * 2, strict=True):
        assert gates.shape == (6, 1, n)
        assert ((gates - 0.5).abs() < 0.1).all()
    seen.clear()
    scatter(model)
    model(batch)
    assert all(((gates > 0) & (gates < 1)).all() for gates in seen)


@torch.no_grad()
def test_a_gate_multiplies_what_was_stored_alpha_and_all() -> None:
    """With every gate near one, the modules act together as they were trained."""
    model, batch = tiny.adapted(), tiny.batch()
    one = [tiny.trained(LoRA(rank=4, alpha=32.0), model)]
    model.load(one)
    wanted = model(batch)
    UniPELT().install(model, one, seed=1)
    for mixer in model.mixers().values():
        for bias in mixer.bias:
            bias.fill_(30.0)
    assert tiny.gap(model(batch), wanted) <= 1e-5


# Prefixes, and modules with gates of their own


OF_SEVERAL_TASKS = [
    Bottleneck(8),
    LoRA(rank=4),
    Prefix(3),
    LoRA(rank=1, alpha=2.0),
    Prefix(5),
    GatedBundle({"prefix": {"length": 2}, "lora": {"rank": 2}, "bottleneck": {"reduction_factor": 4}}, shared=False),
]


def gated(model: AdaptedEncoder) -> list[Adapter]:
    """Gates over two bottlenecks, three LoRAs and three prefixes of six modules; far from where gates start."""
    modules = [tiny.trained(method, model, seed) for seed, method in enumerate(OF_SEVERAL_TASKS)]
    UniPELT().install(model, modules, seed=1)
    scatter(model)
    return modules


def mean_gate(weight: Tensor, bias: Tensor, read: Tensor, mask: Tensor) -> Tensor:
    """(B, n), token by token."""
    rows = []
    for states, live in zip(read, mask.bool(), strict=True):
        tokens = [torch.sigmoid(weight @ h + bias) for h in states[live]]
        rows.append(sum(tokens) / len(tokens))
    return torch.stack(rows)


@torch.no_grad()
def test_by_hand_a_gate_multiplies_each_prefix_and_all_columns_stand_before_the_text() -> None:
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch(rows=3, tokens=6, short=4)
    modules = gated(model)
    attention, seen = model.encoder.encoder.layer[0].attention.self, {}
    handle = attention.register_forward_hook(lambda _m, args, out: seen.update(x=args[0], out=out[0]))
    model(batch)
    handle.remove()
    x, mask, mixers = seen["x"], batch.mask, model.mixers()

    def outer(address: str, index: int) -> Tensor:
        flat = [(w, b) for ws, bs in zip(mixers[address].weight, mixers[address].bias, strict=True)
                for w, b in zip(ws, bs, strict=True)]  # fmt: skip
        weight, bias = flat[index]
        return mean_gate(weight[None], bias[None], x, mask)

    def linear(name: str) -> Tensor:
        y = F.linear(x, getattr(attention, name).weight, getattr(attention, name).bias)
        if name == "key":
            return y.unflatten(-1, (4, 8))
        address = f"0/{name}"
        for index, member in enumerate((1, 3)):
            p = modules[member].params[address]
            y = y + outer(address, index)[:, None] * (x @ p["a"].T @ p["b"].T * p["scale"])
        p = modules[5].params[address]
        own = mean_gate(p["lora.gate"], p["lora.gate_bias"], x, mask)
        delta = x @ p["lora.a"].T @ p["lora.b"].T * p["lora.scale"]
        return (y + (outer(address, 2) * own)[:, None] * delta).unflatten(-1, (4, 8))

    k, v = linear("key"), linear("value")
    for index, member in enumerate((2, 4)):
        p, g = modules[member].params["0/attention"], outer("0/attention", index)[:, :, None, None]
        k, v = torch.cat([g * p["key"], k], 1), torch.cat([g * p["value"], v], 1)
    p, g = modules[5].params["0/attention"], outer("0/attention", 2)
    own = mean_gate(p["prefix.gate"], p["prefix.gate_bias"], x, mask)
    k = torch.cat([(g * own[:, :1])[..., None, None] * p["prefix.key"], k], 1)
    v = torch.cat([(g * own[:, 1:])[..., None, None] * p["prefix.value"], v], 1)
    visible = F.pad(mask.bool(), (10, 0), value=True)[:, None, None]
    scores = torch.einsum("bqhd,bkhd->bhqk", linear("query"), k) / 8**0.5
    wanted = torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~visible, -torch.inf).softmax(-1), v).flatten(2)
    live = mask.bool()
    assert tiny.gap(seen["out"][live], wanted[live]) < 1e-12


@torch.no_grad()
def test_padding_never_moves_a_composed_answer_and_the_mean_of_the_reference_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch = tiny.adapted(), tiny.batch(tokens=12)
    gated(model)
    live = batch.mask.bool()

    def moved() -> float:
        wide = replace(batch, inputs=F.pad(batch.inputs, (0, 28)), mask=F.pad(batch.mask, (0, 28)))
        return tiny.gap(model(wide)[:, :12][live], model(batch)[live])

    assert moved() < 1e-5
    averaged = gate._averaged
    monkeypatch.setattr(gate, "_averaged", lambda scores, mask: averaged(scores, None))
    assert moved() > 1e-2


def opened(model: AdaptedEncoder, bias: float) -> None:
    with torch.no_grad():
        for mixer in model.mixers().values():
            for weight, own in zip(mixer.weight, mixer.bias, strict=True):
                weight.zero_()
                own.fill_(bias)


@pytest.mark.parametrize("method", [Prefix(4), OF_SEVERAL_TASKS[-1]], ids=["prefix", "unipelt"])
@torch.no_grad()
def test_behind_an_open_gate_a_module_answers_as_alone_and_behind_a_shut_one_keys_of_zero_are_left(method: Any) -> None:
    model, batch = tiny.adapted(), tiny.batch()
    module = tiny.trained(method, model)
    bare = model(batch)
    model.load([module])
    alone = model(batch)
    UniPELT().install(model, [module], seed=0)
    opened(model, 40.0)
    assert tiny.gap(model(batch), alone) < 1e-5
    opened(model, -80.0)
    shut = model(batch)
    zeros = {a: {n: torch.zeros_like(t) for n, t in p.items()} for a, p in module.params.items()}
    model.load([Adapter(module.method, zeros)])
    assert tiny.gap(shut, model(batch)) < 1e-5
    assert tiny.gap(shut, bare) > 1e-4  # g = 0 is not "no prefix"


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=str)
def test_gates_of_the_modules_own_count_in_rank_space_in_answers_and_gradients(
    dtype: torch.dtype, bound: float
) -> None:
    """In `adapters` they are ignored where modules are fused."""
    model, batch = tiny.adapted(dtype=dtype), tiny.batch()
    kinds = [
        GatedBundle({"bottleneck": {"reduction_factor": 8}, "ia3": {"targets": ["ffn_norm"]}}),
        Bottleneck(4),
        GatedBundle({"bottleneck": {"reduction_factor": 4}, "lora": {"rank": 2, "targets": ["ffn_norm"]}}),
    ]
    modules = [tiny.trained(method, model, seed) for seed, method in enumerate(kinds)]
    Fusion().install(model, modules, seed=1)
    scatter(model)

    def own_gates(site: Site, x: Tensor, y: Tensor, mask: Tensor) -> list[Tensor]:
        found = []
        for group in site.stacks:
            for slot in range(len(group.owners)):
                read = x if group.method.reads == "x" else y
                p = group.stack
                opening = mean_gate(p["gate"][slot], p["gate_bias"][slot], read, mask) if group.gates else None
                found.append(torch.ones(()) if opening is None else opening[:, None])
        return found

    def by_hand(mixer: Any, site: Site, x: Tensor, y: Tensor, mask: Tensor, deltas: list[Tensor]) -> Tensor:
        z = [g * delta for g, delta in zip(own_gates(site, x, y, mask), deltas, strict=True)]

        class Formed:
            def deltas(self) -> Tensor:
                return torch.stack(z)

        return direct(mixer, x, y, Formed())  # type: ignore[arg-type]

    def run() -> list[Tensor]:
        states = model(batch)
        mixers = [p for mixer in model.mixers().values() for p in mixer.parameters()]
        return [states, *torch.autograd.grad(states.square().mean(), mixers)]

    found = run()
    with ByHand(model, by_hand):
        wanted = run()
    for ours, theirs in zip(found, wanted, strict=True):
        assert tiny.gap(ours, theirs) <= bound
    for mixer, site in ((m, model.sites[a]) for a, m in model.mixers().items()):
        seen: list[Tensor] = []
        mixer.register_forward_hook(
            lambda m, args, out, seen=seen: seen.append(tiny.gap(direct(m, *args[:2], args[3]), out))
        )
        model(batch)
        assert len(site.members) == 5
        assert seen[0] <= bound  # what is formed has the gates too


@torch.no_grad()
def test_the_watch_sees_the_gates_of_prefixes() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    gated(model)
    seen = []
    mixer = model.mixers()["1/attention"]
    mixer.register_forward_hook(lambda module, args, _: seen.append(module.weights(*args)))
    with Watch(model) as watch:
        model(batch)
    assert watch.means()["1/attention"] == pytest.approx(seen[0].mean((0, 1)).tolist(), abs=1e-6)
    assert model.sites["1/attention"].members == (2, 4, 5)
    assert set(watch.shares()["1/attention"]) == {2, 4, 5}


@torch.no_grad()
def test_stored_and_restored_gates_over_prefixes_answer_the_same() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    modules = gated(model)
    wanted, stored = model(batch), mixer_params(model)
    assert {key.rpartition("/")[0] for key in stored} == {
        f"{layer}/{site}" for layer in (0, 1) for site in ("query", "value", "attention", "ffn_norm")
    }
    model.load([])
    restore(model, UniPELT(), modules, stored)
    assert torch.equal(model(batch), wanted)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(made(batch), wanted)
        made.mix(None)
        made.load([])
        assert tiny.gap(made(batch), wanted) > 1e-3
        assert torch.equal(model(batch), wanted)


def test_training_moves_every_gate_and_no_module() -> None:
    model = tiny.adapted()
    modules = gated(model)
    UniPELT().install(model, modules, seed=5)
    start = mixer_params(model)
    request = replace(tiny.request(model, modules[0], seed=5), adapters=tuple(modules), composition=UniPELT(), lr=0.03)
    [learned] = tiny.train(model, request)
    assert all(tiny.equal(model.take(n).params, module.params) for n, module in enumerate(modules))
    assert learned.mixers.keys() == start.keys()
    assert all(not torch.equal(learned.mixers[name], tensor) for name, tensor in start.items())


def test_checkpointed_compiled_and_in_bf16_gates_over_prefixes_are_the_same() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    gated(model)

    def gradients() -> list[Tensor]:
        mixers = [p for mixer in model.mixers().values() for p in mixer.parameters()]
        return list(torch.autograd.grad(model(batch).square().mean(), mixers))

    wanted = gradients()
    with torch.no_grad():
        states = model(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(batch)
        assert float((half.float() - states).abs().mean() / states.abs().mean()) < 0.3
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert tiny.gap(compiled(batch), states) <= 1e-5
    model.checkpoint()
    model.train()
    for a, b in zip(gradients(), wanted, strict=True):
        assert tiny.gap(a, b) <= 1e-5 * float(b.abs().max().clamp_min(1.0))


def test_what_no_gate_can_be_over_is_refused_and_leaves_no_mixer() -> None:
    model = tiny.adapted()
    lora = tiny.trained(LoRA(), model)
    for other in (Prompt(2), PrefixMLP(2, bottleneck=4)):
        with pytest.raises(ContinualError, match=r"adapters \[1\] act at encoder/.*not by deltas"):
            UniPELT().install(model, [lora, tiny.trained(other, model)], seed=0)
        assert not model.mixers()
    for prefix in (Prefix(2), GatedBundle()):
        with pytest.raises(ContinualError, match=r"adapters \[1\] act at 0/attention, not by deltas.*can be gated"):
            Fusion().install(model, [lora, tiny.trained(prefix, model)], seed=0)
        assert not model.mixers()


@pytest.mark.parametrize(
    ("composition", "method", "members"),
    [
        (UniPELT(methods=("bottleneck", "prefix", "lora")), Bottleneck(8), {"bottleneck", "prefix", "lora"}),
        (UniPELT(methods=("unipelt", "lora")), GatedBundle(), {"unipelt", "lora"}),
        (Gates(), GatedBundle({"prefix": {"length": 2}, "lora": {"rank": 2}}), {"toy-0", "toy-1", "toy-2"}),
    ],
    ids=["three methods", "gates over gates", "three tasks"],
)
def test_a_run_learns_gates_over_prefixes_and_records_them(
    tmp_path: Path, composition: Composition, method: Described, members: set[str]
) -> None:
    record = running.run(tmp_path, method=method, compositions=(composition,))
    assert record.status == "finished"
    assert not [line for line in record.warnings if "skipped" in line]
    assert {gain.composition for gain in record.gains} == {name_of(composition)}
    found = {(w.layer, w.site): w for w in record.weights}
    assert {(0, "attention"), (0, "query"), (1, "attention"), (1, "value")} <= found.keys()
    assert all(w.kind == "gate" and 0.3 < value < 0.7 for w in record.weights for value in w.mean)
    assert {member.split()[0] for w in record.weights for member in w.members} == members
