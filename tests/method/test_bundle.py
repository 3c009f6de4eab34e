"""Bundles: what may stand in one, and what each part is told of its own arguments."""

from __future__ import annotations

from typing import Any

import pytest

from continual.errors import ContinualError
from continual.method import named
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.lora import LoRA
from tests import tiny


def test_parts_are_the_methods_with_their_arguments() -> None:
    bundle = Bundle({"lora": {"rank": 2, "alpha": 4, "targets": ["key"]}, "bottleneck": {}})
    assert bundle.parts == {"lora": LoRA(rank=2, alpha=4.0, targets=("key",)), "bottleneck": Bottleneck()}
    assert bundle.targets == ("key", "ffn_norm")


def test_a_part_without_arguments_may_be_null() -> None:
    assert Bundle({"lora": None}).parts == {"lora": LoRA()}  # type: ignore[dict-item]  # as YAML gives it


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ({}, r"method\.methods is empty; name at least one: \+method\.methods\.lora=\{\}"),
        ({"bundle": {}}, "cannot have a bundle in a bundle"),
        ({"head": {}}, r"method\.methods\.head acts on no site; take it away: ~method\.methods\.head"),
        ({"lora": {"targets": []}}, r"method\.methods\.lora acts on no site"),
        ({"prefix": {}, "prefix_mlp": {}}, "prefix and prefix_mlp, stored under one name; keep one of them"),
        ({"nope": {}}, "unknown method 'nope'; choose from: "),
        ({"lora": 3}, r"method\.methods\.lora must be a mapping of text to any or null, got 3"),
        ({"lora": {"rank": "abc"}}, r"method\.methods\.lora\.rank must be a whole number, got 'abc'"),
        ({"lora": {"rank": 2.5}}, r"method\.methods\.lora\.rank must be a whole number, got 2\.5"),
        ({"lora": {"targets": "query"}}, r"method\.methods\.lora\.targets must be a list of text, got 'query'"),
        ({"lora": {"ranks": 2}}, r"unknown key method\.methods\.lora\.ranks; choose from: rank, alpha"),
    ],
)
def test_what_cannot_be_a_part_is_told(methods: dict[str, Any], told: str) -> None:
    with pytest.raises(ContinualError, match=told):
        Bundle(methods)


def test_a_prefix_through_a_network_is_kept_as_a_prefix_beside_the_others() -> None:
    settled = Bundle({"prefix_mlp": {"length": 3}, "lora": {}}).settled
    assert list(settled.parts) == ["prefix", "lora"]
    assert named("bundle", {"methods": settled.methods}) == settled


@pytest.mark.parametrize("method", [named("full", {}), named("prefix_mlp", {}), Bundle({"prefix_mlp": {}, "lora": {}})])
def test_what_is_not_kept_by_layer_cannot_be_taken_apart_by_layers(method: Any) -> None:
    adapter = tiny.trained(method, tiny.adapted())
    with pytest.raises(ContinualError, match=r"cannot be taken apart by layers; .*: method\.layers=1-"):
        adapter.above(1)


@pytest.mark.parametrize(("layers", "text"), [(1, "1"), (0, "0-0")])
def test_a_layer_may_be_named_by_its_number(layers: Any, text: str) -> None:
    model = tiny.adapted()
    assert (
        tiny.trained(LoRA(layers=layers), model).params.keys() == tiny.trained(LoRA(layers=text), model).params.keys()
    )
