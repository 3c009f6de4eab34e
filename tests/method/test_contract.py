"""What every file of ``continual/method`` promises; a new file is tested without a line here."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor

from continual import folder
from continual.adapter import Adapter, generator
from continual.errors import ContinualError
from continual.method import name_of, named
from continual.method.base import LowRank, Method, Params, WeightMethod
from continual.types import Shape
from tests import tiny

NAMES = folder.names("continual.method")
SHAPE = Shape(d_in=12, d_out=20)

every_method = pytest.mark.parametrize("name", NAMES)
site_methods = pytest.mark.parametrize("name", [n for n in NAMES if isinstance(named(n, {}), Method)])
low_rank_methods = pytest.mark.parametrize("name", [n for n in NAMES if isinstance(named(n, {}), LowRank)])


def params(method: Method, seed: int = 0) -> Params:
    """As after training: nothing is zero."""
    rng = generator(seed, "params")
    start = method.init(SHAPE, rng)
    return {n: t.double() + torch.randn(t.shape, generator=rng).double() for n, t in start.items()}


def states() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 5, SHAPE.d_in).double(), torch.randn(3, 5, SHAPE.d_out).double()


@every_method
def test_it_says_what_it_is(name: str) -> None:
    method = named(name, {})
    assert len((type(method).__doc__ or "").split()) > 5
    assert not type(method).__doc__.startswith(f"{type(method).__name__}(")  # a dataclass writes that by itself
    assert isinstance(method, Method) != isinstance(method, WeightMethod)
    assert method.lr > 0
    assert method.reads in ("x", "y")
    assert isinstance(hash(method.path()), int)


@every_method
def test_a_card_can_name_it_again(name: str) -> None:
    method = named(name, {})
    again = named(name_of(method), json.loads(json.dumps(folder.arguments(method))))
    assert again == method
    assert Adapter(method, {}).digest() == Adapter(again, {}).digest()


@every_method
def test_unknown_arguments_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContinualError, match=rf"{name} does not take \['surprise'\]; it takes \["):
        named(name, {"surprise": 1})


@pytest.mark.parametrize("name", ["lorra", "../lora", "base", "os.system", "__init__", ""])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContinualError, match=", ".join(NAMES)):
        named(name, {})


def test_a_class_from_elsewhere_cannot_be_stored() -> None:
    class Mine:
        pass

    with pytest.raises(ContinualError, match=r"must live in continual\.method"):
        name_of(Mine())


@site_methods
def test_delta_is_pure(name: str) -> None:
    method = named(name, {})
    p, (x, y) = params(method), states()
    before = copy.deepcopy((p, x, y))
    first = method.delta(p, x, y)
    assert first.shape == y.shape
    assert torch.equal(method.delta(p, x, y), first)
    assert torch.equal(x, before[1])
    assert torch.equal(y, before[2])
    assert tiny.equal({"": p}, {"": before[0]})


@site_methods
def test_each_row_has_its_own_delta(name: str) -> None:
    method = named(name, {})
    p, (x, y) = params(method), states()
    rows = torch.cat([method.delta(p, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert tiny.gap(rows, method.delta(p, x, y)) < 1e-12


@site_methods
def test_it_starts_at_zero_from_its_own_stream(name: str) -> None:
    method = named(name, {})
    x, y = (state.float() for state in states())
    first, again, other = (method.init(SHAPE, generator(seed, "0/query")) for seed in (0, 0, 1))
    assert not method.delta(first, x, y).any()
    assert tiny.equal({"": first}, {"": again})
    assert not first or not tiny.equal({"": first}, {"": other})
    assert set(method.fixed) <= set(first) or not first


@low_rank_methods
def test_delta_is_code_times_up_plus_bias(name: str) -> None:
    method = named(name, {})
    p, (x, y) = params(method), states()
    up, bias = method.up(p)
    wanted = method.code(p, x, y) @ up.T + (0.0 if bias is None else bias)
    assert tiny.gap(method.delta(p, x, y), wanted) < 1e-10


@low_rank_methods
def test_codes_of_many_are_the_code_of_their_parameters_one_below_the_other(name: str) -> None:
    method = named(name, {})
    several, (x, y) = [params(method, seed) for seed in range(3)], states()
    below = {key: torch.cat([p[key] for p in several]) for key in method.coded}
    codes = torch.cat([method.code(p, x, y) for p in several], -1)
    assert tiny.gap(method.code(below, x, y), codes) < 1e-12


@low_rank_methods
def test_zero_padding_the_rank_changes_nothing(name: str) -> None:
    method = named(name, {})
    p, (x, y) = params(method), states()
    rank = method.up(p)[0].shape[1]

    def wide(key: str, tensor: Tensor) -> Tensor:
        sizes = [
            n + 3 if n == rank and (axis == 0) == (key in method.coded) else n for axis, n in enumerate(tensor.shape)
        ]
        padded = tensor.new_zeros(sizes)
        padded[tuple(slice(n) for n in tensor.shape)] = tensor
        return padded

    padded = {key: wide(key, tensor) for key, tensor in p.items()}
    assert method.up(padded)[0].shape[1] == rank + 3
    assert tiny.gap(method.delta(padded, x, y), method.delta(p, x, y)) < 1e-12


@pytest.mark.parametrize(
    ("name", "one", "two", "same"),
    [
        ("lora", {"rank": 2, "alpha": 1.0}, {"rank": 8, "targets": ["key"]}, True),
        ("lora", {"dropout": 0.1}, {"dropout": 0.2}, False),
        ("bottleneck", {"reduction_factor": 4.0, "scale": 2.0}, {"reduction_factor": 16.0}, True),
        ("bottleneck", {"activation": "relu"}, {"activation": "gelu"}, False),
    ],
)
def test_adapters_share_a_stack_where_only_tensors_differ(name: str, one: dict, two: dict, same: bool) -> None:
    assert (named(name, one).path() == named(name, two).path()) == same


def test_whole_and_decimal_numbers_are_one_argument() -> None:
    """YAML says 16 where Python's default is 16.0: the same module must have the same digest."""
    assert Adapter(named("lora", {"alpha": 16}), {}).digest() == Adapter(named("lora", {}), {}).digest()
