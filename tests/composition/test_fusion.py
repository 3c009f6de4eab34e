"""Fusion in rank space is the direct form: keys and values of all N deltas, written out here."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual.composition.base import Mixer, mixer_params
from continual.composition.fusion import Fusion
from continual.composition.fusion import direct as package_direct
from continual.encoder.site import Site
from continual.errors import ContinualError
from continual.learner import Learner
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from tests import tiny

from .mixing import STACKS, ByHand, adapters, scatter, weights_at

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-4)]


def direct(mixer: Mixer, site: Site, x: Tensor, y: Tensor, mask: Tensor, deltas: list[Tensor]) -> Tensor:
    """AdapterFusion as in its paper: s_n = q · (W_k z_n + b_k), o = Σ w_n W_v z_n; b_k is any constant."""
    z = torch.stack(deltas, 2)  # (B, T, N, d)
    q = F.linear(y, mixer.query, mixer.query_bias)
    k = F.linear(z, mixer.key, torch.full_like(mixer.query_bias, 0.7))
    v = F.linear(z, mixer.value)
    w = torch.einsum("btd,btnd->btn", q, k).softmax(-1)
    return torch.einsum("btn,btnd->btd", w, v)


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS, ids=str)
@pytest.mark.parametrize("stack", STACKS)
def test_rank_space_equals_the_direct_form_in_answers_and_gradients(
    stack: str, dtype: torch.dtype, bound: float
) -> None:
    model, batch = tiny.adapted(dtype=dtype), tiny.batch()
    Fusion().install(model, adapters(model, stack), seed=1)
    scatter(model)
    weight = torch.randn(*batch.inputs.shape, model.width).to(dtype)

    def run() -> tuple[Tensor, list[Tensor]]:
        states = model(batch)
        mixers = [p for mixer in model.mixers().values() for p in mixer.parameters()]
        return states, list(torch.autograd.grad((states * weight).mean(), mixers))

    found, found_grads = run()
    with ByHand(model, direct):
        wanted, wanted_grads = run()
    assert tiny.gap(found, wanted) <= bound
    for ours, theirs in zip(found_grads, wanted_grads, strict=True):
        assert theirs.any()
        assert tiny.gap(ours, theirs) <= bound


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS, ids=str)
@pytest.mark.parametrize("stack", STACKS)
def test_at_a_site_the_gradients_of_what_it_reads_are_those_of_the_direct_form_too(
    stack: str, dtype: torch.dtype, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's own direct form, which the benchmark measures against."""
    model, batch = tiny.adapted(dtype=dtype), tiny.batch()
    fusion = Fusion(temperature=3.0)
    fusion.install(model, adapters(model, stack), seed=1)
    scatter(model)
    site, mixer = model.sites["0/ffn_norm"], model.mixers()["0/ffn_norm"]
    rng = torch.Generator().manual_seed(0)
    x, y, weight = (torch.randn(*batch.inputs.shape, model.width, generator=rng).to(dtype) for _ in range(3))
    leaves = {"x": x.requires_grad_(), "y": y.requires_grad_(), **dict(mixer.named_parameters())}

    def run() -> tuple[Tensor, tuple[Tensor, ...]]:
        found = site.delta(x, y)
        return found, torch.autograd.grad((found * weight).mean(), list(leaves.values()), allow_unused=True)

    found, found_grads = run()
    monkeypatch.setattr(type(mixer), "forward", lambda self, x, y, mask, parts: package_direct(self, x, y, parts))
    wanted, wanted_grads = run()
    assert tiny.gap(found, wanted) <= bound
    for name, ours, theirs in zip(leaves, found_grads, wanted_grads, strict=True):
        if theirs is None:  # x, where all read y
            assert (name, ours) == ("x", None)
        else:
            assert theirs.any(), name
            assert tiny.gap(ours, theirs) <= bound, name


def test_without_values_it_is_the_fusion_whose_values_are_the_identity() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    several = adapters(model, "mixed")
    Fusion().install(model, several, seed=1)
    with torch.no_grad():
        for mixer in model.mixers().values():
            mixer.value.copy_(torch.eye(model.width))
        wanted = model(batch)
        Fusion(values=False).install(model, several, seed=1)
        assert tiny.gap(model(batch), wanted) <= 1e-6
    assert Fusion(values=False).penalty(model) == 0.0
    assert {name.split("/")[-1] for name in mixer_params(model)} == {"query", "query_bias", "key"}


@torch.no_grad()
def test_a_single_adapter_gets_all_the_attention() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    adapter = tiny.trained(Bottleneck(8), model)
    model.load([adapter])
    alone = model(batch)
    Fusion().install(model, [adapter], seed=0)
    seen = weights_at(model, "1/ffn_norm")
    fused = model(batch)
    assert torch.equal(seen[0], torch.ones(6, 9, 1))
    assert tiny.gap(fused, alone) < 1e-3  # the value matrix starts 1e-6 beside the identity
    for mixer in model.mixers().values():
        mixer.value.copy_(torch.eye(model.width))
    assert tiny.gap(model(batch), alone) <= 1e-5


@torch.no_grad()
def test_permuting_the_adapters_permutes_the_weights_and_no_answer() -> None:
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch()
    several = adapters(model, "other ranks")
    order = [2, 0, 1]
    Fusion().install(model, several, seed=1)
    scatter(model)
    seen = weights_at(model, "0/ffn_norm")
    wanted = model(batch)
    Fusion().install(model, [several[i] for i in order], seed=1)
    scatter(model)
    again = weights_at(model, "0/ffn_norm")
    assert tiny.gap(model(batch), wanted) <= 1e-10
    assert tiny.gap(again[0], seen[0][..., order]) <= 1e-10
    assert seen[0].std() > 0.01


@torch.no_grad()
def test_the_same_module_twice_shares_its_attention_evenly() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    adapter = tiny.trained(Bottleneck(8), model)
    Fusion().install(model, [adapter], seed=0)
    wanted = model(batch)
    Fusion().install(model, [adapter, adapter], seed=0)
    seen = weights_at(model, "1/ffn_norm")
    assert tiny.gap(model(batch), wanted) <= 1e-6
    assert torch.equal(seen[0], torch.full((6, 9, 2), 0.5))


@torch.no_grad()
def test_it_fuses_what_the_library_cannot_loras_and_modules_of_other_sites() -> None:
    """peers.md 1.4: Fuse of LoRAs, of Pfeiffer with Houlsby, of Pfeiffer with a bundle (UniPELT) are errors there."""
    pfeiffer, houlsby = Bottleneck(8), Bottleneck(4, targets=("attn_out", "ffn_out"))
    bundle = Bundle({"bottleneck": {"reduction_factor": 8.0}, "lora": {"rank": 2}})
    for methods in ([LoRA(rank=2), LoRA(rank=4)], [pfeiffer, houlsby], [pfeiffer, bundle], tiny_methods()):
        model, batch = tiny.adapted(dtype=torch.float64), tiny.batch()
        several = [tiny.trained(method, model, seed) for seed, method in enumerate(methods)]
        Fusion().install(model, several, seed=1)
        scatter(model)
        found = model(batch)
        for address, mixer in model.mixers().items():
            acting = {n for n, adapter in enumerate(several) if address in adapter.params}
            assert set(model.sites[address].members) == acting
            assert mixer.value.shape == (model.sites[address].shape.d_out,) * 2
        with ByHand(model, direct):
            assert tiny.gap(model(batch), found) <= 1e-10


def tiny_methods() -> list[Described]:
    return [method for method in tiny.methods() if hasattr(method, "delta")]


def test_prefixes_alone_or_in_a_bundle_are_refused() -> None:
    model = tiny.adapted()
    for other in (Prefix(), Bundle({"bottleneck": {}, "prefix": {"length": 3}})):
        with pytest.raises(ContinualError, match=r"adapters \[1\] act at 0/attention, not by deltas"):
            Fusion().install(model, [tiny.trained(m, model) for m in (Bottleneck(8), other)], seed=0)


def test_weight_decay_does_not_pull_at_a_fusion() -> None:
    """Its own regulariser says where W_v shall stay; in the library the exemption is dead code (peers.md 1.4)."""
    model = tiny.adapted()
    several = adapters(model, "bottlenecks")
    request = tiny.request(model, several[0], weight_decay=0.5)
    learner = Learner(model, [replace(request, adapters=tuple(several), composition=Fusion())])
    decay = {id(p): g["weight_decay"] for g in learner.configure_optimizers().param_groups for p in g["params"]}
    mixers = [p for mixer in model.mixers().values() for p in mixer.parameters()]
    assert {decay.pop(id(p)) for p in mixers} == {0.0}
    assert set(decay.values()) == {0.5}  # of the head


def test_it_starts_at_the_identity_and_its_regulariser_is_the_distance_from_it() -> None:
    model = tiny.adapted()
    Fusion().install(model, adapters(model, "mixed"), seed=1)
    d = model.width
    mixers = model.mixers()
    for mixer in mixers.values():
        assert torch.equal(mixer.value, torch.full((d, d), 1e-6).fill_diagonal_(1.0))
        assert abs(float(mixer.query.detach().std()) - 0.02) < 0.002
        assert abs(float(mixer.key.detach().std()) - 0.02) < 0.002
        assert not mixer.query_bias.any()
    first, second = mixers.values()
    assert not torch.equal(first.query, second.query)
    assert Fusion().penalty(model) < 1e-8

    scatter(model)
    wanted = 0.3 * sum(float(((torch.eye(d) - m.value.detach()) ** 2).sum()) for m in mixers.values())
    penalty = Fusion(regularizer=0.3).penalty(model)
    assert float(penalty.detach()) == pytest.approx(wanted, rel=1e-5)
    penalty.backward()
    assert tiny.gap(first.value.grad, 0.6 * (first.value - torch.eye(d))) < 1e-5


def test_without_gradients_the_product_of_query_and_key_gives_the_same_answers() -> None:
    """More tokens than channels: the other way of computing the query is taken, and none can tell."""
    model = tiny.adapted(dtype=torch.float64)
    Fusion().install(model, adapters(model, "mixed"), seed=5)
    scatter(model)
    batch = tiny.batch(rows=6, tokens=9)
    assert batch.inputs.numel() > model.width
    learning = model(batch)
    assert learning.requires_grad
    with torch.no_grad():
        assert tiny.gap(model(batch), learning) < 1e-12
