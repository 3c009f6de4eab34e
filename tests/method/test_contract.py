"""What every file of ``continual/method`` promises; a new file is tested without a line here."""

from __future__ import annotations

import copy
import json
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual import folder
from continual.adapter import Adapter, generator
from continual.errors import ContinualError
from continual.method import name_of, named
from continual.method.base import (
    AttentionMethod,
    Bundled,
    Described,
    Foldable,
    Fused,
    LowRank,
    Method,
    Params,
    PromptMethod,
    Spread,
    WeightMethod,
)
from continual.types import Shape
from tests import tiny

NAMES = folder.names("continual.method")
KINDS = (Method, AttentionMethod, Spread, PromptMethod, WeightMethod, Bundled)
SHAPE = Shape(d_in=12, d_out=20)


def of_kind(kind: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [name for name in NAMES if isinstance(named(name, {}), kind)])


def params(method: Method, seed: int = 0, shape: Shape = SHAPE) -> Params:
    """As after training: nothing is zero."""
    rng = generator(seed, "params")
    start = method.init(shape, rng)
    return {n: t.double() + torch.randn(t.shape, generator=rng).double() for n, t in start.items()}


def states() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 5, SHAPE.d_in).double(), torch.randn(3, 5, SHAPE.d_out).double()


def has(method: Described, option: str) -> bool:
    return option in {field.name for field in fields(method)}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    method = named(name, {})
    assert len((type(method).__doc__ or "").split()) > 5
    assert not type(method).__doc__.startswith(f"{type(method).__name__}(")  # a dataclass writes that by itself
    assert sum(isinstance(method, kind) for kind in KINDS) == 1
    assert method.lr > 0
    assert method.reads in ("x", "y")
    assert 0 <= method.dropout < 1
    assert isinstance(hash(method.path()), int)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_can_name_it_again(name: str) -> None:
    method = named(name, {})
    if has(method, "layers"):
        method = replace(method, layers="0,2-")  # type: ignore[type-var]
    again = named(name_of(method), json.loads(json.dumps(folder.arguments(method))))
    assert again == method
    assert again.layers == method.layers
    assert Adapter(method, {}).digest() == Adapter(again, {}).digest()


@of_kind((Method, AttentionMethod, WeightMethod))
def test_it_can_be_limited_to_layers_without_another_code_path(name: str) -> None:
    method = named(name, {})
    assert method.layers is None
    if has(method, "layers"):
        assert named(name, {"layers": "4-"}).path() == method.path()
    else:
        assert method.targets == ()


@pytest.mark.parametrize("name", NAMES)
def test_unknown_arguments_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContinualError, match=rf"{name} does not take \['surprise'\]; it takes \["):
        named(name, {"surprise": 1})


@pytest.mark.parametrize("name", [name for name in NAMES if has(named(name, {}), "dropout")])
@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_that_is_no_probability_is_refused(name: str, dropout: float) -> None:
    with pytest.raises(ContinualError, match=rf"method\.dropout must be at least 0 and below 1, got {dropout}"):
        named(name, {"dropout": dropout})


@pytest.mark.parametrize("name", ["lorra", "../lora", "base", "os.system", "__init__", ""])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContinualError, match=", ".join(NAMES)):
        named(name, {})


def test_a_class_from_elsewhere_cannot_be_stored() -> None:
    class Mine:
        pass

    with pytest.raises(ContinualError, match=r"must live in continual\.method"):
        name_of(Mine())


@of_kind(Method)
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


@of_kind(Method)
def test_each_row_has_its_own_delta(name: str) -> None:
    method = named(name, {})
    p, (x, y) = params(method), states()
    rows = torch.cat([method.delta(p, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert tiny.gap(rows, method.delta(p, x, y)) < 1e-12


@of_kind(Method)
def test_it_starts_at_zero_from_its_own_stream(name: str) -> None:
    method = named(name, {})
    x, y = (state.float() for state in states())
    first, again, other = (method.init(SHAPE, generator(seed, "0/query")) for seed in (0, 0, 1))
    assert not method.delta(first, x, y).any()
    assert tiny.equal({"": first}, {"": again})
    drawn = any(tensor.unique().numel() > 1 for tensor in first.values())  # others begin at a constant
    assert drawn != tiny.equal({"": first}, {"": other})
    assert set(method.fixed) <= set(first) or not first


@of_kind(Method)
def test_every_parameter_that_is_trained_moves_the_delta(name: str) -> None:
    method = named(name, {})
    p, (x, y) = params(method), states()
    p = {key: tensor.requires_grad_(key not in method.fixed) for key, tensor in p.items()}
    if p:
        (method.delta(p, x, y) * torch.randn(SHAPE.d_out)).sum().backward()
    assert all(tensor.grad.any() for key, tensor in p.items() if key not in method.fixed)


@of_kind(LowRank)
def test_delta_is_code_times_up_plus_bias(name: str) -> None:
    method = named(name, {})
    p, (x, y) = params(method), states()
    up, bias = method.up(p)
    wanted = method.code(p, x, y) @ up.T + (0.0 if bias is None else bias)
    assert tiny.gap(method.delta(p, x, y), wanted) < 1e-10


@of_kind(LowRank)
def test_codes_of_many_are_the_code_of_their_parameters_one_below_the_other(name: str) -> None:
    method = named(name, {})
    several, (x, y) = [params(method, seed) for seed in range(3)], states()
    below = {key: torch.cat([p[key] for p in several]) for key in method.coded}
    codes = torch.cat([method.code(p, x, y) for p in several], -1)
    assert tiny.gap(method.code(below, x, y), codes) < 1e-12


def wider(method: Any) -> list[Any]:
    """With one option changed that makes its tensors larger, for each such option."""
    options = {field.name for field in fields(method)}
    larger = [replace(method, reduction_factor=1.0)] if "reduction_factor" in options else []
    return larger + [replace(method, **{o: getattr(method, o) + 3}) for o in ("rank", "phm_rank") if o in options]


@of_kind(LowRank)
def test_beside_a_wider_one_it_is_padded_with_zeros_which_change_nothing(name: str) -> None:
    method = named(name, {})
    assert wider(method)
    p, (x, y) = params(method), states()
    for other in wider(method):
        assert other.path() == method.path()
        sizes = {key: tensor.shape for key, tensor in other.init(SHAPE, generator(0)).items()}
        assert sizes != {key: tensor.shape for key, tensor in p.items()}
        padded = {key: tensor.new_zeros(sizes[key]) for key, tensor in p.items()}
        for key, tensor in p.items():
            padded[key][tuple(slice(size) for size in tensor.shape)] = tensor
        assert tiny.gap(method.delta(padded, x, y), method.delta(p, x, y)) < 1e-12
        # Nor do they learn: what is padding now is padding after any number of steps.
        trained = {key: tensor.clone().requires_grad_() for key, tensor in padded.items()}
        (method.delta(trained, x, y) * torch.randn(SHAPE.d_out)).sum().backward()
        for key, tensor in trained.items():
            inside = torch.zeros_like(tensor)
            inside[tuple(slice(size) for size in p[key].shape)] = 1
            assert not (tensor.grad * (1 - inside)).any(), key


@of_kind(Foldable)
@pytest.mark.parametrize("biased", [True, False])
def test_a_linear_with_it_merged_answers_as_with_it_beside(name: str, biased: bool) -> None:
    method = named(name, {})
    p, (x, _) = params(method), states()
    weight, bias = torch.randn(SHAPE.d_out, SHAPE.d_in).double(), torch.randn(SHAPE.d_out).double() if biased else None
    y = F.linear(x, weight, bias)
    before = copy.deepcopy((weight, bias))
    assert tiny.gap(F.linear(x, *method.fold(p, weight, bias)), y + method.delta(p, x, y)) < 1e-12
    assert torch.equal(F.linear(x, weight, bias), F.linear(x, *before))


@of_kind(Foldable)
@pytest.mark.parametrize("biased", [True, False])
def test_merged_into_the_linear_that_reads_a_changed_input_it_answers_as_beside(name: str, biased: bool) -> None:
    method = named(name, {})
    p, (x, _) = params(method, shape=Shape(SHAPE.d_in, SHAPE.d_in)), states()
    weight, bias = torch.randn(SHAPE.d_out, SHAPE.d_in).double(), torch.randn(SHAPE.d_out).double() if biased else None
    wanted = F.linear(x + method.delta(p, x, x), weight, bias)
    assert tiny.gap(F.linear(x, *method.fold_input(p, weight, bias)), wanted) < 1e-12


@of_kind(Foldable)
def test_a_norm_with_it_merged_answers_as_with_it_beside_or_it_says_that_it_cannot(name: str) -> None:
    method = named(name, {})
    p, x = params(method, shape=Shape(SHAPE.d_out, SHAPE.d_out)), states()[1]
    weight, bias = torch.randn(SHAPE.d_out).double(), torch.randn(SHAPE.d_out).double()
    if isinstance(method, LowRank):
        with pytest.raises(ContinualError, match="beside a norm can't be merged"):
            method.fold(p, weight, bias)
        return
    y = F.layer_norm(x, weight.shape, weight, bias)
    folded, moved = method.fold(p, weight, bias)
    assert tiny.gap(F.layer_norm(x, weight.shape, folded, moved), y + method.delta(p, x, y)) < 1e-12


@pytest.mark.parametrize(
    ("name", "one", "two", "same"),
    [
        ("lora", {"rank": 2, "alpha": 1.0}, {"rank": 8, "targets": ["key"], "rank_stabilized": True}, True),
        ("lora", {"dropout": 0.1}, {"dropout": 0.2}, False),
        ("bottleneck", {"reduction_factor": 4.0, "scale": 2.0}, {"reduction_factor": 16.0}, True),
        ("bottleneck", {"activation": "relu"}, {"activation": "gelu"}, False),
        ("bottleneck", {"normalize": True}, {}, False),
        ("parallel", {"reduction_factor": 4.0, "scale": 2.0}, {}, True),
        ("parallel", {"learn_scale": True}, {}, False),
        ("compacter", {"reduction_factor": 4.0, "phm_rank": 2}, {}, True),
        ("compacter", {"phm_dim": 2}, {}, False),
        ("ia3", {"targets": ["ffn_in"]}, {}, True),
        ("bitfit", {"targets": ["key"]}, {}, True),
    ],
)
def test_adapters_share_a_stack_where_only_tensors_differ(name: str, one: dict, two: dict, same: bool) -> None:
    assert (named(name, one).path() == named(name, two).path()) == same


def test_whole_and_decimal_numbers_are_one_argument() -> None:
    """YAML says 16 where Python's default is 16.0: the same module must have the same digest."""
    assert Adapter(named("lora", {"alpha": 16}), {}).digest() == Adapter(named("lora", {}), {}).digest()


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(named(name, {}), Fused)])
def test_added_in_passing_it_is_the_same_delta(name: str) -> None:
    method = named(name, {})
    assert isinstance(method, Fused)
    p, (x, y) = params(method), states()
    base = torch.randn_like(y)
    assert tiny.gap(method.onto(p, base, x, y), base + method.delta(p, x, y)) < 1e-12
