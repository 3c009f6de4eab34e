"""Reads a setup of ``adapters``: stored adapters and the AdapterFusion over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from continual.adapter import flatten
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.exchange import adapterhub, modules
from continual.exchange.bottleneck import BLOCKS, FAMILIES
from continual.exchange.source import Config, Imported, read_json, read_tensors, require_empty, take
from continual.method.base import Params
from continual.method.bottleneck import Bottleneck

SETUP, CONFIG, FILE = "adapter_setup.json", "adapter_fusion_config.json", "model_adapter_fusion.safetensors"
PICKLES = ("pytorch_model_adapter_fusion.bin",)
WAY_OUT = "load it in adapters and save it again: model.save_adapter_setup(folder, setup, use_safetensors=True)"
NEUTRAL = ("dropout_prob", "regularization", "value_initialized", "value_before_softmax")
FORM = {"query": True, "key": True, "query_before_ln": False, "residual_before": False, "temperature": False}


@dataclass(frozen=True)
class Setup:
    """Members by name, in the order in which the mixers see them, and the mixers' tensors as a store keeps them."""

    members: dict[str, Imported]
    composition: Fusion
    mixers: dict[str, Tensor]
    source: dict[str, Any]


def is_setup(folder: Path) -> bool:
    """Whether a folder holds a setup rather than one adapter."""
    return (folder / SETUP).is_file()


def read(folder: Path, model: AdaptedEncoder) -> Setup:
    """A ``Fuse`` of bottlenecks at the same sites: w = softmax_n(q(y) · k(z_n)), delta = v(Σ w_n z_n).

    Their key bias adds the same to all scores, which softmax ignores: it is dropped. "static" has no v: the identity.

    Raises ContinualError for other setups, and for whatever is not computed exactly, naming the key or the tensor.
    """
    names = _members(read_json(folder / SETUP), folder)
    members = {name: adapterhub.read(folder / name, model) for name in names}
    for name, member in members.items():
        if not isinstance(member.adapter.method, Bottleneck):
            raise ContinualError(f"{folder / name}: fusion is read over sequential bottlenecks alone")
    sites = {tuple(sorted(member.adapter.params)) for member in members.values()}
    if len(sites) > 1:
        raise ContinualError(f"{folder}: the adapters of a fusion act at different sites; our fusion mixes equal ones")
    joined = ",".join(names)
    path = folder / joined / CONFIG
    source = read_json(path)
    if not isinstance(source.get("config"), dict):
        raise ContinualError(f"{path}: expected a config, got {source.get('config')!r:.60}")
    config = Config(source["config"], str(path), NEUTRAL)
    for key, wanted in FORM.items():
        config.only(key, (wanted,), "our fusion attends by query and key, from the block's normed output, with no more")
    tensors = read_tensors(folder / joined, FILE, PICKLES, WAY_OUT)
    values = config.get("value", True, bool)
    mixers = _mixers(tensors, values, joined, sorted(sites.pop()), model)
    config.close()
    require_empty(tensors, "no site of the adapters is there")
    return Setup(members, Fusion(values=values), flatten(mixers), source)


def _members(setup: dict[str, Any], folder: Path) -> list[str]:
    """Each is the name of a folder beside the setup's file, and of nothing else."""
    found = setup.get("adapter_setup")
    if not isinstance(found, dict) or found.get("type") != "Fuse" or not isinstance(found.get("children"), list):
        raise ContinualError(f"{folder / SETUP}: adapter_setup: expected a Fuse of adapters, got {found!r:.80}")
    names = []
    for child in found["children"]:
        single = child.get("children") if isinstance(child, dict) and child.get("type") == "single" else None
        if not isinstance(single, list) or len(single) != 1 or not isinstance(single[0], str):
            raise ContinualError(f"{folder / SETUP}: adapter_setup: expected single adapters, got {child!r:.80}")
        names.append(single[0])
    for name in names:
        if not name or name.startswith(".") or Path(name).name != name or "\\" in name or "," in name:
            raise ContinualError(f"{folder / SETUP}: {name!r:.80} is not the name of a folder beside it")
    if len(set(names)) < len(names) or not names:
        raise ContinualError(f"{folder / SETUP}: expected different adapters, got {names}")
    return names


def _mixers(
    tensors: dict[str, Tensor], values: bool, joined: str, sites: Sequence[str], model: AdaptedEncoder
) -> dict[str, Params]:
    if model.encoder.config.model_type not in FAMILIES:
        raise ContinualError(f"fusions of {model.encoder.config.model_type} are not read")
    d, paths, mixers = model.width, modules.layer_paths(model), {}
    prefix = f"{model.encoder.base_model_prefix}."
    for key in [key for key in tensors if key.startswith(prefix)]:
        tensors.setdefault(key.removeprefix(prefix), tensors.pop(key))
    for address in sites:
        number, site = address.split("/")
        block = f"{paths[int(number)]}.{BLOCKS[site.split('_')[0]]}.adapter_fusion_layer.{joined}"
        tensors.pop(f"{block}.key.bias", None)
        mixers[address] = {
            "query": take(tensors, f"{block}.query.weight", d, d),
            "query_bias": take(tensors, f"{block}.query.bias", d),
            "key": take(tensors, f"{block}.key.weight", d, d),
        }
        if values:
            mixers[address]["value"] = take(tensors, f"{block}.value.weight", d, d)
    return mixers
