"""Fusion in rank space is the direct form: keys and values of all N deltas, written out here."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual.composition.base import Mixer
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Site
from continual.method.bottleneck import Bottleneck
from tests import tiny

from .mixing import STACKS, ByHand, adapters, scatter

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


def weights_at(model: AdaptedEncoder, address: str) -> list[Tensor]:
    """The attention of a site, in every forward that follows."""
    seen: list[Tensor] = []
    mixer = model.mixers()[address]
    mixer.register_forward_hook(lambda module, args, _: seen.append(module.weights(*args)))
    return seen


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
