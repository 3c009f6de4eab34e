"""Compacter's matrices are the sums of Kronecker products that the paper writes; its sizes are those it promises."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual.adapter import generator
from continual.errors import ContinualError
from continual.method import named
from continual.method.base import Params
from continual.method.compacter import Compacter
from continual.types import Shape
from tests import tiny

SHAPE = Shape(24, 24)


def filled(method: Compacter) -> Params:
    rng = generator(0, "filled")
    return {name: torch.randn(tensor.shape, generator=rng).double() for name, tensor in method.init(SHAPE, rng).items()}


def summed(p: Params, name: str) -> Tensor:
    """(in, out): product after product."""
    parts = zip(p[f"{name}_rule"], p[f"{name}_left"], p[f"{name}_right"], strict=True)
    return torch.stack([torch.kron(rule, left @ right) for rule, left, right in parts]).sum(0)


@pytest.mark.parametrize("method", [Compacter(2), Compacter(4, phm_dim=3, phm_rank=2), Compacter(6, phm_dim=1)])
def test_delta_is_that_of_a_bottleneck_with_the_summed_matrices(method: Compacter) -> None:
    p, y = filled(method), torch.randn(2, 5, 24).double()
    hidden = F.gelu(y @ summed(p, "down") + p["down_bias"].flatten())
    assert tiny.gap(method.delta(p, y, y), hidden @ summed(p, "up") + p["up_bias"]) < 1e-11


@pytest.mark.parametrize(("factor", "width"), [(2.0, 12), (5.0, 4), (7.0, 4), (24.0, 4), (3.4, 8)])
def test_the_width_in_the_middle_is_a_multiple_of_the_products_in_a_sum(factor: float, width: int) -> None:
    """24 / 5 is 4.8, as a whole number 4; 24 / 7 is 3 and becomes 4; 24 / 3.4 is 7 and becomes 8."""
    p = Compacter(factor).init(SHAPE, generator(0))
    assert p["down_bias"].numel() == width
    assert Compacter(factor).up(p)[0].shape == (24, width)


def test_its_matrices_start_as_large_as_those_of_a_linear() -> None:
    """Kaiming-uniform with a = √5: the variance of an entry is 1 / (3 d)."""
    shape, method = Shape(384, 384), Compacter(4, phm_dim=8)
    entries = torch.cat([summed(method.init(shape, generator(seed)), "down").flatten() for seed in range(20)])
    assert float(entries.var() * 3 * 384) == pytest.approx(1, rel=0.1)


def test_it_has_the_parameters_of_its_factors_and_its_own_rules() -> None:
    """BERT-base: 1.8 k by the paper's count (factors and biases of one adapter) and two rules of 64."""
    p = Compacter().init(Shape(768, 768), generator(0))
    n, d, r = 4, 768, 24
    assert sum(tensor.numel() for tensor in p.values()) == 2 * (d + r) + (d + r) + 2 * n**3


def test_arguments_it_cannot_have_are_refused() -> None:
    with pytest.raises(ContinualError, match=r"method\.phm_dim must be at least 1, got 0"):
        named("compacter", {"phm_dim": 0})
    with pytest.raises(ContinualError, match=r"method\.activation 'swish'; choose from: gelu"):
        named("compacter", {"activation": "swish"})
    with pytest.raises(ContinualError, match=r"method\.phm_dim is 5; expected a divisor of the site's width 24"):
        Compacter(phm_dim=5).init(SHAPE, generator(0))
