"""What is kept of frozen slots for rank space is theirs wherever they go, and in every mode."""

from __future__ import annotations

import copy

import pytest
import torch

from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Site
from continual.encoder.wide import named, widened
from continual.method import named as method_named
from continual.method.base import LowRank
from tests import tiny


def fused(count: int = 3) -> AdaptedEncoder:
    model = tiny.adapted()
    Fusion().install(model, [tiny.trained(method_named("bottleneck", {}), model, n) for n in range(count)], seed=0)
    return model


def groups(model: AdaptedEncoder):
    return [group for site in model.sites.values() if isinstance(site, Site) for group in site.stacks]


def test_frozen_slots_are_widened_once_and_their_answers_are_those_of_what_is_made_anew() -> None:
    model = fused()
    kept = model(tiny.batch())
    assert all(group._widened for group in groups(model))
    for group in groups(model):
        group._widened = ()
    assert torch.equal(model(tiny.batch()), kept)


def test_slots_that_train_are_widened_in_every_forward() -> None:
    model = tiny.adapted()
    model.load([tiny.trained(method_named("bottleneck", {}), model)], train=[0])
    for group in groups(model):
        group.widen()
        assert not group._widened
        assert group.wide().up.requires_grad


def test_what_is_kept_moves_with_the_model() -> None:
    model = fused().to(torch.float64)
    assert {group.wide().up.dtype for group in groups(model)} == {torch.float64}
    assert model(tiny.batch()).dtype == torch.float64
    other = copy.deepcopy(model)
    model.to(torch.float32)
    assert {group.wide().up.dtype for group in groups(other)} == {torch.float64}


def test_under_autocast_it_is_cast_once_for_inference_and_training() -> None:
    model = fused()
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            first = model(tiny.batch())
        assert {group.wide().up.dtype for group in groups(model)} == {torch.bfloat16}
        assert all(group.wide() is group.wide() for group in groups(model))
        out = model(tiny.batch())
    out.float().sum().backward()
    assert tiny.gap(out.detach().float(), first.float()) < 0.02
    assert tiny.gap(model(tiny.batch()), out.detach().float()) < 0.1
    model.to(torch.float64)
    assert {group.wide().up.dtype for group in groups(model)} == {torch.float64}


@pytest.mark.parametrize("name", ["bottleneck", "lora"])
def test_names_round_trip(name: str) -> None:
    method = method_named(name, {})
    assert isinstance(method, LowRank)
    model = tiny.adapted()
    params = next(iter(tiny.trained(method, model).params.values()))
    made = widened(method, {key: torch.stack([tensor, tensor]) for key, tensor in params.items()})
    again = named(method, made.tensors())
    assert again.tensors().keys() == made.tensors().keys()
    assert all(torch.equal(again.tensors()[key], tensor) for key, tensor in made.tensors().items())
