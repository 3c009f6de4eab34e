"""What every file of ``continual/merging`` promises; a new file is tested without a line here."""

from __future__ import annotations

import json
from dataclasses import fields
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import continual.conf
from continual import folder
from continual.adapter import Adapter, flatten, fresh, unflatten
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.merging import name_of, named
from continual.merging.base import Merging
from continual.method import name_of as method_name
from continual.method import named as method_named
from continual.method.lora import LoRA
from continual.store import Card, EncoderRef, Store
from tests import tiny

from .making import AVERAGES, LINEAR, METHODS, merge, module, says, scaled, several

NAMES = folder.names("continual.merging")


def made(name: str, **options: Any) -> Merging:
    """Those of the options that it takes."""
    taken = {field.name for field in fields(folder.component("continual.merging", name))}
    return named(name, {key: value for key, value in options.items() if key in taken})


def keeping(name: str, **options: Any) -> Merging:
    """It trims and drops nothing, and cuts no rank."""
    return made(name, density=1.0, rank=32, **options)


def fits(name: str, kind: str) -> bool:
    """Whether modules of this kind can be merged so; that others are refused is a test of its own."""
    return kind == "lora" or (name != "svd" and (kind in LINEAR or name in AVERAGES))


def pairs(*kinds: str, without: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Each rule with each of the kinds that it can merge."""
    found = [(name, kind) for name in NAMES for kind in kinds if fits(name, kind) and name not in without]
    return pytest.mark.parametrize(("name", "kind"), found, ids=str)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model() -> AdaptedEncoder:
    return tiny.adapted()


def test_a_card_can_name_it_again(name: str) -> None:
    merging = made(name, weights=(0.5, 2.0), density=0.3, rank=3, seed=7)
    assert len((type(merging).__doc__ or "").split()) > 5
    values = json.loads(json.dumps(folder.arguments(merging)))
    assert named(name_of(merging), values) == merging
    with pytest.raises(ContinualError, match=r"does not take \['surprise'\]; it takes \["):
        named(name, {"surprise": 1})


@pytest.mark.parametrize("name", ["tyes", "../ties", "base", "os.system"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContinualError, match=", ".join(NAMES)):
        named(name, {})


@pytest.mark.parametrize("kind", METHODS)
def test_the_result_is_a_module_of_its_parents_method_that_can_be_stored(
    name: str, kind: str, model: AdaptedEncoder, tmp_path: Path
) -> None:
    parents = several(model, METHODS[kind])
    before = [parent.digest() for parent in parents]
    if not fits(name, kind):
        with pytest.raises(ContinualError, match=r"merge with (mean|arithmetic)"):
            merge(made(name, weights=(1 / 3,)), parents)
        return
    merged = merge(made(name, weights=(1 / 3,)), parents)
    assert [parent.digest() for parent in parents] == before
    assert method_name(merged.method) == kind
    answer = says(model, merged)
    assert answer.isfinite().all()
    assert tiny.gap(answer, says(model, None)) > 1e-3
    card = Card(
        kind="adapter",
        method=kind,
        arguments=folder.arguments(merged.method),
        encoder=EncoderRef(name="tiny", revision=None, fingerprint="0"),
        pooling="mean",
        head="classify",
        labels=("a", "b"),
        parents=tuple(before),
        tensors={},
        origin={"merging": {"name": name, "arguments": folder.arguments(made(name))}},
    )
    Store(tmp_path).put("merged", card, flatten(merged.params), {})
    entry = Store(tmp_path).get("merged")
    assert entry.card.parents == tuple(before)
    again = Adapter(method_named(entry.card.method, entry.card.arguments), unflatten(entry.tensors))
    assert again.method == merged.method
    assert torch.equal(says(model, again), answer)


@pairs("lora", "full", "sparse", "bundle")
def test_the_order_of_the_parents_does_not_matter_bit_by_bit(name: str, kind: str, model: AdaptedEncoder) -> None:
    parents, weights = several(model, METHODS[kind]), [0.2, 0.7, 0.1]
    digests = {
        merge(made(name, weights=tuple(weights[i] for i in order)), [parents[i] for i in order]).digest()
        for order in permutations(range(3))
    }
    assert len(digests) == 1
    if name != "mean":
        assert merge(made(name, weights=(0.7, 0.2, 0.1)), parents).digest() not in digests


@pairs(*METHODS)
def test_one_module_with_weight_one_is_that_module(name: str, kind: str, model: AdaptedEncoder) -> None:
    parent = module(model, METHODS[kind])
    assert tiny.gap(says(model, merge(keeping(name), [parent])), says(model, parent)) < 2e-5


@pairs(*LINEAR, without=("mean", "fisher"))  # averages: their weights are shares
def test_weight_zero_leaves_the_encoder_bare(name: str, kind: str, model: AdaptedEncoder) -> None:
    merged = merge(made(name, weights=(0.0,)), several(model, METHODS[kind]))
    assert torch.equal(says(model, merged), says(model, None))


@pairs(*LINEAR, without=("dare", "dare_ties", "fisher"))  # other masks, other Fishers
def test_a_module_and_its_negative_leave_the_encoder_bare(name: str, kind: str, model: AdaptedEncoder) -> None:
    parent = module(model, METHODS[kind])
    merged = merge(made(name), [parent, scaled(parent, -1.0)])
    assert tiny.gap(says(model, merged), says(model, None)) < 2e-6


@pairs(*LINEAR)
def test_twice_the_same_module_counts_twice(name: str, kind: str, model: AdaptedEncoder) -> None:
    parent = module(model, METHODS[kind])
    wanted = parent if name in ("mean", "ties", "dare_ties", "fisher") else scaled(parent, 2.0)
    assert tiny.gap(says(model, merge(keeping(name), [parent, parent])), says(model, wanted)) < 5e-5


def test_loras_of_any_rank_alpha_and_targets_are_merged(name: str, model: AdaptedEncoder) -> None:
    methods = [
        LoRA(rank=1, alpha=8.0),
        LoRA(rank=5, targets=("query", "ffn_in"), layers="1-", dropout=0.1),
        LoRA(rank=3, alpha=2.0, rank_stabilized=True),
    ]
    parents = [module(model, method, seed) for seed, method in enumerate(methods)]
    merged = merge(keeping(name), parents)
    assert isinstance(merged.method, LoRA)
    assert set(merged.method.targets) == {"query", "value", "ffn_in"}
    assert (merged.method.layers, merged.method.dropout) == (None, 0.0)
    assert merged.params.keys() == {"0/query", "1/query", "0/value", "1/value", "1/ffn_in"}
    assert says(model, merged).isfinite().all()
    alone = merge(keeping(name, weights=(1.0,)), [parents[1]])
    assert tiny.gap(says(model, alone), says(model, parents[1])) < 2e-5


def test_no_modules_are_refused(name: str) -> None:
    with pytest.raises(ContinualError, match="at least one module, got none"):
        made(name).merge([])


def test_a_module_without_parameters_is_refused(name: str, model: AdaptedEncoder) -> None:
    bare = fresh(method_named("head", {}), model.shapes, model.weights, 0)
    with pytest.raises(ContinualError, match=r"module 1 \(head\) has no parameters"):
        merge(made(name), [module(model, METHODS["lora"]), bare])


def test_nan_is_refused_with_the_module_and_the_address(name: str, model: AdaptedEncoder) -> None:
    parents = several(model, METHODS["lora"])
    parents[2].params["1/value"]["b"][3, 1] = float("nan")
    with pytest.raises(ContinualError, match=rf"module 2 \(lora {parents[2].digest()[:12]}….*at 1/value/b"):
        merge(made(name), parents)


def test_modules_of_several_methods_are_refused(name: str, model: AdaptedEncoder) -> None:
    with pytest.raises(ContinualError, match="one method, got bottleneck and lora"):
        merge(made(name), [module(model, METHODS["lora"]), module(model, METHODS["bottleneck"])])


def test_a_weight_too_many_is_refused(name: str, model: AdaptedEncoder) -> None:
    if name == "mean":
        return
    with pytest.raises(ContinualError, match=r"2 values for 3 modules; give one for each, or one for all"):
        merge(made(name, weights=(1.0, 2.0)), several(model, METHODS["lora"]))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"weights": ()}, "finite numbers, at least one"),
        ({"weights": (float("nan"),)}, "finite numbers"),
        ({"density": 0.0}, "above 0 and at most 1"),
        ({"density": 1.5}, "above 0 and at most 1"),
        ({"rank": 0}, "at least 1, or null"),
    ],
)
def test_arguments_out_of_range_are_refused(name: str, options: dict[str, Any], wanted: str) -> None:
    if next(iter(options)) not in {field.name for field in fields(made(name))}:  # type: ignore[arg-type]
        return
    with pytest.raises(ContinualError, match=wanted):
        made(name, **options)


def test_conf_has_its_file_with_its_arguments_and_defaults(name: str) -> None:
    path = Path(continual.conf.__file__).parent / "merging" / f"{name}.yaml"
    node = yaml.safe_load(path.read_text(encoding="utf-8"))[name]
    kind = folder.component("continual.merging", name)
    assert node.pop("_target_") == f"{kind.__module__}.{kind.__qualname__}"
    assert named(name, node) == kind()
    assert node.keys() == {field.name for field in fields(kind)}
