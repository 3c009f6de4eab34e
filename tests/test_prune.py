"""Pruned compositions: what stays, what it answers, how it is stored, and how far one may go."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from continual import composition, folder, prune
from continual.adapter import Adapter
from continual.composition.base import mixer_params
from continual.composition.fusion import Fusion
from continual.composition.unipelt import UniPELT
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.head.classify import Classify
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.lora import LoRA
from continual.prune import Kept
from tests import tiny

NORM = ("ffn_norm",)
ADDRESSES = ["0/ffn_norm", "1/ffn_norm"]


def members(model: AdaptedEncoder) -> list[Adapter]:
    """Four of two code paths, so that a mixer sees them in another order than they are given in: 0, 2, 3, 1."""
    kinds = [Bottleneck(8), LoRA(rank=2, targets=NORM), Bottleneck(4), Bottleneck(16)]
    return [tiny.trained(kind, model, seed) for seed, kind in enumerate(kinds)]


def fused(model: AdaptedEncoder, adapters: list[Adapter], seed: int = 3) -> dict[str, Tensor]:
    """Mixers with opinions."""
    Fusion().install(model, adapters, seed=1)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for mixer in model.mixers().values():
            for parameter in mixer.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=rng).to(parameter) * 0.3)
    return mixer_params(model)


@torch.no_grad()
def test_a_pruned_fusion_is_the_fusion_of_those_that_stay_whatever_the_others_are() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    adapters = members(model)
    mixers = fused(model, adapters)
    full = model(batch)
    kept = {address: (1, 3) for address in ADDRESSES}
    composition.restore(model, Fusion(kept=kept), adapters, mixers)
    found = model(batch)
    assert tiny.gap(found, full) > 1e-3
    assert {address: set(model.sites[address].members) for address in ADDRESSES} == {a: {1, 3} for a in ADDRESSES}
    composition.restore(model, Fusion(), [adapters[1], adapters[3]], mixers)
    assert tiny.gap(model(batch), found) <= 1e-6


@torch.no_grad()
def test_members_may_differ_by_site_and_where_none_stays_the_encoder_is_as_it_was() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    adapters = members(model)
    mixers = fused(model, adapters)
    composition.restore(model, Fusion(kept={"0/ffn_norm": ()}), adapters, mixers)
    assert list(model.mixers()) == ["1/ffn_norm"]
    assert model.sites["1/ffn_norm"].members == (0, 2, 3, 1)
    found = model(batch)
    above = [adapter.above(1) for adapter in adapters]
    composition.restore(model, Fusion(), above, {key: t for key, t in mixers.items() if key.startswith("1/")})
    assert torch.equal(model(batch), found)


@torch.no_grad()
def test_it_is_stored_with_what_it_keeps_and_answers_the_same_again() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    adapters = members(model)
    pruned = Fusion(kept={"0/ffn_norm": (), "1/ffn_norm": (2, 0)})
    composition.restore(model, pruned, adapters, fused(model, adapters))
    wanted, kept = model(batch), mixer_params(model)
    assert {key.split("/")[0] for key in kept} == {"1"}
    card = json.loads(json.dumps(folder.arguments(pruned)))
    again = composition.named("fusion", card)
    assert again == pruned
    model.load([])
    composition.restore(model, again, adapters, kept)
    assert torch.equal(model(batch), wanted)


def test_a_pruned_fusion_can_be_trained_on_and_its_members_stay_as_they_are() -> None:
    model = tiny.adapted()
    adapters = members(model)
    before = [adapter.digest() for adapter in adapters]
    request = tiny.request(model, adapters[0])
    pruned = Fusion(kept={"0/ffn_norm": (), "1/ffn_norm": (0, 1)})
    [learned] = tiny.train(model, replace(request, adapters=tuple(adapters), composition=pruned))
    assert {key.split("/")[0] for key in learned.mixers} == {"1"}
    assert [adapter.digest() for adapter in adapters] == before


@torch.no_grad()
def test_the_most_attended_are_found_by_their_own_numbers() -> None:
    """A mixer's order is not that of the adapters; and all that a bundle has at a site counts for it."""
    model, batch = tiny.adapted(), tiny.batch()
    adapters = members(model)
    adapters[1] = tiny.trained(Bundle({"bottleneck": {}, "lora": {"rank": 2, "targets": NORM}}), model)
    fused(model, adapters)
    with composition.Watch(model) as watch:
        model(batch)
    for address, means in watch.means().items():
        order = model.sites[address].members
        assert order.count(1) == 2
        assert order != tuple(sorted(order))
        totals = [sum(m for m, o in zip(means, order, strict=True) if o == n) for n in range(4)]
        assert [watch.shares()[address][n] for n in range(4)] == pytest.approx(totals)
        best = sorted(sorted(range(4), key=lambda n: -totals[n])[:2])
        assert prune.most_attended(watch.shares(), 2)[address] == tuple(best)


def test_all_stay_where_fewer_are_than_asked_for() -> None:
    assert prune.most_attended({"0/key": {4: 1.0}}, 3) == {"0/key": (4,)}
    with pytest.raises(ContinualError, match="k must be at least 1, got 0"):
        prune.most_attended({"0/key": {4: 1.0}}, 0)


SHARES = {
    "0/ffn_norm": {0: 0.5, 1: 0.3, 2: 0.2},
    "1/ffn_norm": {0: 0.05, 1: 0.9, 2: 0.05},
    "2/ffn_norm": {0: 0.25, 2: 0.75},
}


def test_steps_take_the_least_attended_anywhere_first_then_whole_layers_from_below() -> None:
    taken = prune.steps(SHARES)
    gone = [{(a, m) for a in SHARES for m in set(before[a]) - set(after[a])} for before, after in pairwise(taken)]
    assert gone == [
        {("1/ffn_norm", 0)},
        {("1/ffn_norm", 2)},
        {("0/ffn_norm", 2)},
        {("2/ffn_norm", 0)},
        {("0/ffn_norm", 1)},
        {("0/ffn_norm", 0)},
        {("1/ffn_norm", 1)},
    ]
    assert taken[0] == {a: tuple(sorted(own)) for a, own in SHARES.items()}
    assert taken[-1] == {"0/ffn_norm": (), "1/ffn_norm": (), "2/ffn_norm": (2,)}


@pytest.mark.parametrize("limit", range(8))
def test_automatic_goes_as_far_as_the_tolerance_allows_and_scores_few(limit: int) -> None:
    """The score falls by 0.001 a step: ``limit`` steps are allowed, and not one more."""
    order = prune.steps(SHARES)
    asked: list[int] = []

    def score(kept: Kept) -> float:
        asked.append(order.index(dict(kept)))
        return 0.9 - 0.001 * asked[-1]

    assert order.index(dict(prune.automatic(score, order, tolerance=0.001 * limit))) == limit
    assert len(asked) == len(set(asked)) <= 4
    assert limit in asked  # what is given back was scored itself


def test_automatic_keeps_all_where_less_is_worse_and_takes_a_better_score() -> None:
    order = prune.steps(SHARES)
    assert prune.automatic(lambda kept: -order.index(dict(kept)), order, 0.0) == order[0]
    assert prune.automatic(lambda kept: order.index(dict(kept)), order, 0.0) == order[-1]
    assert prune.automatic(lambda kept: 0.5 if kept == order[0] else float("nan"), order, 0.1) == order[0]
    for tolerance in (-0.1, float("nan")):
        with pytest.raises(ContinualError, match="a tolerance of 0 or more"):
            prune.automatic(lambda kept: 1.0, order, tolerance)


def test_automatic_over_a_real_fusion_keeps_its_promise() -> None:
    model = tiny.adapted()
    adapters = members(model)
    request = tiny.request(model, adapters[0], epochs=3)
    [learned] = tiny.train(model, replace(request, adapters=tuple(adapters), composition=Fusion(), lr=0.01))

    def score(kept: Kept) -> float:
        composition.restore(model, Fusion(kept=kept), adapters, learned.mixers)
        found = tiny.answers(model, Classify(), learned.head_params, request.valid)
        return sum(a == b for a, b in zip(found, request.valid.wanted, strict=True)) / len(found)

    composition.restore(model, Fusion(), adapters, learned.mixers)
    with composition.Watch(model) as watch:
        full = tiny.answers(model, Classify(), learned.head_params, request.valid)
    kept = prune.automatic(score, prune.steps(watch.shares()), tolerance=0.02)
    right = sum(a == b for a, b in zip(full, request.valid.wanted, strict=True)) / len(full)
    assert right - score(kept) <= 0.02 + 1e-9
    assert sum(map(len, kept.values())) < 8


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"0/ffn_norn": (0,)}, "kept has '0/ffn_norn', where no adapter acts; these act at: 0/ffn_norm, 1/ffn_norm"),
        ({"0/ffn_norm": (0, 7)}, r"kept at 0/ffn_norm is \[0, 7\]; expected different ones of \[0, 1, 2, 3\]"),
        ({"0/ffn_norm": (-1,)}, r"is \[-1\]; expected different ones of"),
        ({"0/ffn_norm": (1, 1)}, r"is \[1, 1\]; expected different ones of"),
    ],
)
def test_what_cannot_be_kept_is_refused(kept: Kept, said: str) -> None:
    model = tiny.adapted()
    with pytest.raises(ContinualError, match=said):
        Fusion(kept=kept).install(model, members(model), seed=0)


def test_a_fusion_that_keeps_nothing_anywhere_has_no_mixer() -> None:
    model = tiny.adapted()
    nothing = Fusion(kept=dict.fromkeys(ADDRESSES, ()))
    nothing.install(model, members(model), seed=0)
    assert model.mixers() == {}
    assert nothing.penalty(model) == 0.0


def test_gates_are_one_a_member_and_refuse_members_that_are_fewer() -> None:
    model = tiny.adapted()
    adapters = members(model)
    UniPELT().install(model, adapters, seed=0)
    mixers = mixer_params(model)
    fewer = prune.without(adapters, {"0/ffn_norm": (0, 1, 2)})
    with pytest.raises(ContinualError, match="the mixer at 0/ffn_norm is not one for these adapters"):
        composition.restore(model, UniPELT(), fewer, mixers)
