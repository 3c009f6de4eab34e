"""An encoder that reads in a lower precision is, for everyone else, the encoder that it was."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import fingerprint
from continual.encoder.low import Low
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from tests import tiny


@pytest.fixture
def model() -> AdaptedEncoder:
    made = tiny.adapted()
    made.load([tiny.trained(Bottleneck(), made)])
    made.lower = torch.bfloat16
    return made


def own(model: AdaptedEncoder) -> Mapping[str, nn.Parameter]:
    return dict(model.encoder.named_parameters())


def test_after_a_forward_its_parameters_are_its_own(model: AdaptedEncoder) -> None:
    before, print_before = own(model), fingerprint(model.encoder)
    model(tiny.batch())
    after = own(model)
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert fingerprint(model.encoder) == print_before


def test_so_they_are_after_one_that_fails(model: AdaptedEncoder) -> None:
    before = own(model)
    bad = tiny.batch()
    bad.inputs = bad.inputs + 10**6
    with pytest.raises(IndexError):
        model(bad)
    assert all(parameter is before[name] for name, parameter in own(model).items())
    assert model.route.low is None


def test_within_it_every_weight_is_low_the_tied_ones_once(model: AdaptedEncoder) -> None:
    seen: list[Tensor] = []
    layer = model.encoder.get_submodule("encoder.layer.0")
    layer.register_forward_pre_hook(lambda module, given: seen.extend([given[0], *model.encoder.parameters()]))
    model(tiny.batch())
    assert {tensor.dtype for tensor in seen} == {torch.bfloat16}
    tied = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    tied[1].weight = tied[0].weight
    with Low(tied, torch.bfloat16).reading():
        assert tied[0].weight is tied[1].weight


def test_weights_that_were_written_to_are_copied_again(model: AdaptedEncoder) -> None:
    before = model(tiny.batch())
    assert torch.equal(model(tiny.batch()), before)
    with torch.no_grad():
        model.encoder.get_submodule("encoder.layer.1.output.dense").weight.mul_(1.5)  # type: ignore[union-attr]
    assert not torch.equal(model(tiny.batch()), before)


def test_weights_that_change_and_layers_that_are_computed_again_are_left_to_autocast(model: AdaptedEncoder) -> None:
    assert model.stream == torch.bfloat16
    model.load([tiny.trained(Full(), model)])
    assert model.stream == torch.float32
    assert model(tiny.batch()).dtype == torch.float32
    model.load([])
    model.checkpoint()
    assert model.stream == torch.float32
