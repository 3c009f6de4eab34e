"""The average of outputs: a true weighted mean."""

from __future__ import annotations

import pytest
import torch

from continual.composition.average import Average
from continual.errors import ContinualError
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from tests import tiny

from .mixing import STACKS, ByHand, adapters


@torch.no_grad()
@pytest.mark.parametrize("weights", [(), (1.0, 2.0, 1.0, 4.0)], ids=["equal", "given"])
@pytest.mark.parametrize("stack", STACKS)
def test_it_is_the_weighted_mean_of_the_deltas(stack: str, weights: tuple[float, ...]) -> None:
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch()
    several = adapters(model, stack)
    given = weights[: len(several)]
    Average(weights=given).install(model, several, seed=0)
    found = model(batch)
    share = [w / sum(given) for w in given] or [1 / len(several)] * len(several)

    def mean(mixer: object, site: object, x: object, y: object, mask: object, deltas: list[torch.Tensor]) -> object:
        return sum(share[member] * delta for member, delta in zip(site.members, deltas, strict=True))

    with ByHand(model, mean):
        assert tiny.gap(model(batch), found) <= 1e-12


@torch.no_grad()
def test_a_module_that_is_absent_at_a_site_counts_there_as_no_change() -> None:
    model = tiny.adapted()
    here, elsewhere = tiny.trained(LoRA(rank=2, targets=("query",)), model), tiny.trained(Bottleneck(8), model)
    Average().install(model, [here, elsewhere], seed=0)
    x = y = torch.randn(2, 3, model.width)
    found = model.sites["0/query"].delta(x, y)
    assert tiny.gap(found, here.method.delta(here.params["0/query"], x, y) / 2) <= 1e-6


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0)])
def test_weights_of_another_number_of_modules_are_refused(weights: tuple[float, ...]) -> None:
    model = tiny.adapted()
    with pytest.raises(ContinualError, match=rf"{len(weights)} numbers; expected one for each of 2 modules"):
        Average(weights=weights).install(model, [tiny.trained(Bottleneck(8), model)] * 2, seed=0)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_weights_without_a_sum_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ContinualError, match="must have a sum above 0"):
        Average(weights=weights)
