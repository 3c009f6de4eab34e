"""A fusion's temperature: it falls in training and in nothing else, and it is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from continual.composition import restore
from continual.composition.fusion import Fusion
from continual.errors import ContinualError
from continual.predict import to
from tests import tiny

from .mixing import adapters, scatter, weights_at


class Hot:
    """Two adapters under a fusion that starts at 50, and ways of going through it."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.model, self.batch = tiny.adapted(dtype=dtype), tiny.batch()
        self.adapters = adapters(self.model, "mixed")
        Fusion(temperature=50.0, cooling=0.5).install(self.model, self.adapters, seed=1)
        scatter(self.model)
        self.mixer = self.model.mixers()["0/ffn_norm"]

    def steps(self) -> set[int]:
        return {int(mixer.steps) for mixer in self.model.mixers().values()}

    def backward(self, times: int) -> None:
        for _ in range(times):
            self.model(self.batch).sum().backward()

    def temperature(self) -> float:
        """As the weights show it: log w_0 - log w_1 = (s_0 - s_1) / tau."""
        site, y = self.model.sites["0/ffn_norm"], torch.randn(1, 1, self.model.width).to(next(self.mixer.parameters()))
        seen = weights_at(self.model, "0/ffn_norm")
        with torch.no_grad():
            site.delta(y, y)
            hot = seen[-1].double().log().diff(dim=-1)
            steps, self.mixer.steps = self.mixer.steps, None
            site.delta(y, y)
            self.mixer.steps = steps
        return float((seen[-1].double().log().diff(dim=-1) / hot).mean())


def test_a_temperature_divides_the_scores_and_falls_to_one_in_training() -> None:
    hot = Hot(torch.float64)
    assert hot.temperature() == pytest.approx(50)
    hot.backward(4)
    assert hot.steps() == {4}
    assert hot.temperature() == pytest.approx(48)
    hot.mixer.steps.fill_(98)
    assert hot.temperature() == pytest.approx(1)
    hot.mixer.steps.fill_(10_000)
    assert hot.temperature() == pytest.approx(1)


def test_evaluation_never_moves_a_temperature_in_either_mode() -> None:
    hot = Hot()
    hot.backward(1)
    for mode in (True, False):
        hot.model.train(mode)
        with torch.no_grad():
            hot.model(hot.batch)
        hot.model(hot.batch)
    assert hot.steps() == {1}


def test_in_bfloat16_a_temperature_still_falls() -> None:
    """50 - 0.05 is 50 there: the steps are counted in whole numbers."""
    hot = Hot(torch.bfloat16)
    hot.backward(3)
    assert hot.mixer.steps.dtype == torch.int64
    assert hot.steps() == {3}


def test_a_temperature_falls_wherever_the_mixers_are_moved_to() -> None:
    hot = Hot()
    hot.model.to(torch.float64)
    hot.backward(2)
    assert hot.steps() == {2}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_temperature_falls_on_the_card() -> None:
    hot = Hot()
    hot.model.to("cuda")
    hot.batch = to(hot.batch, torch.device("cuda"))
    hot.backward(2)
    assert hot.steps() == {2}


def test_a_layer_that_is_computed_again_is_not_counted_twice() -> None:
    hot = Hot()
    hot.backward(1)
    wanted = hot.mixer.query.grad.clone()
    hot = Hot()
    hot.model.checkpoint()
    hot.model.train()
    hot.backward(1)
    assert hot.steps() == {1}
    assert tiny.gap(hot.mixer.query.grad, wanted) <= 1e-5


def test_a_temperature_is_learned_with_stored_and_restored() -> None:
    hot = Hot()
    request = tiny.request(hot.model, hot.adapters[0], epochs=2)
    fusion = Fusion(temperature=50.0, cooling=0.5)
    [learned] = tiny.train(hot.model, replace(request, adapters=tuple(hot.adapters), composition=fusion))
    assert {int(t) for name, t in learned.mixers.items() if name.endswith("/steps")} == {learned.steps}
    restore(hot.model, fusion, hot.adapters, learned.mixers)
    assert hot.steps() == {learned.steps}


def test_it_compiles_as_one_graph() -> None:
    hot = Hot()
    site, y = hot.model.sites["0/ffn_norm"], torch.randn(2, 3, hot.model.width)
    wanted = site.delta(y, y)
    compiled = torch.compile(site.delta, fullgraph=True, backend="eager")
    assert torch.equal(compiled(y, y), wanted)


@pytest.mark.parametrize("wrong", [{"temperature": 0.5}, {"temperature": float("inf")}, {"cooling": -0.1}])
def test_temperatures_below_one_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ContinualError, match="a temperature of at least 1 and a cooling of at least 0"):
        Fusion(**wrong)
