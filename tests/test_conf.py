"""The configuration mirrors the package, and everything that can be chosen composes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

import continual.conf
from continual import folder
from continual.build import HOMES, RECIPE
from continual.evaluate import Evaluate
from continual.request import Recipe
from continual.secret import KEY
from continual.task_streams import __path__ as streams_path
from continual.trainer import Machine

CONF = Path(continual.conf.__file__).parent
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and not path.name.startswith("_"))
PRESETS = {"mam": "bundle", "qlora": "lora"}
"""Files of conf/method that are another component's, with the settings of a paper."""


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_module("continual.conf", version_base="1.3"):
        yield


def composed(*overrides: str) -> DictConfig:
    return compose("run", overrides=list(overrides))


def files(group: str) -> dict[str, dict[str, Any]]:
    """name -> content of each YAML of a group."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONF / group).glob("*.yaml")}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a tree."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from nodes(child)


@pytest.mark.parametrize("group", ["method", "strategy", "composition", "router"])
def test_a_component_has_a_file_in_conf_and_a_file_in_conf_a_component(group: str) -> None:
    presets = PRESETS if group == "method" else {}
    absent = ["none"] if group == "router" else []
    assert sorted(files(group)) == sorted([*folder.names(f"continual.{group}"), *presets, *absent])
    for name, node in files(group).items():
        if name in absent:
            continue
        node = OmegaConf.to_container(composed(f"{group}={name}")[group]) if name in presets else node
        [target] = [n["_target_"] for n in nodes(node) if "_target_" in n]
        component = folder.component(f"continual.{group}", presets.get(name, name))
        assert target == f"{component.__module__}.{component.__qualname__}"


def test_a_stream_has_a_file_in_conf_and_a_file_in_conf_a_stream() -> None:
    modules = {path.stem for path in Path(next(iter(streams_path))).glob("*.py")} - {"__init__"}
    assert set(files("stream")) == modules
    for name, node in files("stream").items():
        assert node["_target_"] == f"continual.task_streams.{name}.tasks"


def test_every_file_names_its_target_and_gives_it_exactly_the_keys_that_it_takes() -> None:
    wrong = []
    for group in HOMES:
        for name, content in files(group).items():
            if name in PRESETS:
                content = OmegaConf.to_container(composed(f"{group}={name}")[group])
            for node in (n for n in nodes(content) if "_target_" in n):
                module, _, attribute = node["_target_"].rpartition(".")
                known = set(inspect.signature(getattr(import_module(module), attribute)).parameters)
                if odd := known ^ (set(node) - {"_target_"}):
                    wrong.append(f"conf/{group}/{name}.yaml and {attribute} differ in {sorted(odd)}")
    assert wrong == []


def test_trainer_and_optimizer_give_recipe_and_machine_their_keys() -> None:
    cfg = composed()
    assert set(cfg.trainer) == set(RECIPE) | (set(inspect.signature(Machine).parameters) - {"loggers"})
    assert set(cfg.optimizer) | set(RECIPE) == set(inspect.signature(Recipe).parameters)
    assert set(composed("trainer=gpu").trainer) == set(cfg.trainer)


def test_defaults_in_conf_are_those_of_the_code() -> None:
    """A notebook and the command line do the same unless they say otherwise; only data and lengths differ."""
    differ = []
    for group in ("method", "strategy", "composition", "router", "evaluate"):
        for content in (content for name, content in files(group).items() if name not in PRESETS):
            for node in (n for n in nodes(content) if "_target_" in n):
                module, _, attribute = node["_target_"].rpartition(".")
                component = getattr(import_module(module), attribute)
                for key in inspect.signature(component).parameters:
                    value = tuple(node[key]) if isinstance(node[key], list) else node[key]
                    if value != getattr(component(), key):
                        differ.append(f"{group}.{key}: {value} and {getattr(component(), key)}")
    cfg = composed()
    recipe = Recipe(**cfg.optimizer, **{key: cfg.trainer[key] for key in RECIPE})
    assert differ == []
    assert recipe == Recipe()
    assert Evaluate() == Evaluate(**{key: value for key, value in cfg.evaluate.items() if key != "_target_"})


@pytest.mark.parametrize(
    "overrides",
    [
        *([f"{group}={name}"] for group in GROUPS if group != "composition" for name in files(group)),
        ["composition=fusion"],
        ["composition=[]"],
        ["composition=[unipelt]"],
        ["composition=[unipelt,fusion]"],
        ["method=lora", "strategy=sequential", "stream=toy", "logger=csv", "composition=fusion", "method.rank=4"],
        ["experiment=toy", "stream.count=2", "stream=toy"],
    ],
    ids=",".join,
)
def test_whatever_can_be_chosen_composes(overrides: list[str]) -> None:
    cfg = composed(*overrides)
    assert {"method", "stream", "strategy", "trainer"} <= set(cfg)
    for override in overrides:
        key, _, value = override.partition("=")
        if key in HOMES and key not in ("composition", "merging", "encoder", "evaluate"):
            name = PRESETS.get(value, value)
            assert f".{name}." in cfg[key]._target_ or cfg[key]._target_.endswith(f".{name}")


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("composition=fusion", ["fusion"]),
        ("composition=[]", []),
        ("composition=[unipelt]", ["unipelt"]),
        ("composition=[unipelt,fusion]", ["unipelt", "fusion"]),
        ("seed=0", ["fusion", "unipelt"]),
    ],
)
def test_composition_is_a_list_in_the_order_given(override: str, names: list[str]) -> None:
    assert list(composed(override).composition) == names


def test_nothing_in_conf_looks_like_a_secret() -> None:
    for path in CONF.rglob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        keys = [key for node in nodes(content) for key, value in node.items() if value is not None]
        assert not [key for key in keys if KEY.search(str(key))], path


def test_every_key_says_in_its_file_what_it_is_or_the_file_does_in_its_first_line() -> None:
    for group in set(GROUPS) - {"trainer", "paths", "experiment", "evaluate"}:
        for path in (CONF / group).glob("*.yaml"):
            assert path.read_text(encoding="utf-8").startswith("# "), path
