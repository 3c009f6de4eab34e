"""Reads what AdapterHub's ``adapters`` saved: bottlenecks, LoRA, IA³, prefixes, and unions of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from continual import folder, gate, method
from continual.activation import activation
from continual.adapter import Adapter
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.exchange import bottleneck, heads, modules
from continual.exchange.source import (
    NO_HEAD,
    Config,
    Imported,
    read_json,
    read_tensors,
    require_empty,
    require_finite,
    take,
    take_gates,
)  # fmt: skip
from continual.method.base import Bundled, Described, Params

FILE = "adapter.safetensors"
PICKLES = ("pytorch_adapter.bin",)
WAY_OUT = "load it in adapters and save it again: model.save_adapter(folder, name, use_safetensors=True)"
NEUTRAL = (
    "architecture", "init_weights", "init_weights_seed", "dropout", "stochastic_depth", "cross_adapter",
    "inv_adapter_reduction_factor", "learn_phm", "phm_c_init", "phm_init_range", "hypercomplex_nonlinearity",
    "phm_dim", "phm_rank", "phm_bias", "factorized_phm_W", "factorized_phm_rule", "shared_phm_rule", "shared_W_phm",
    "dtype", "cross_prefix", "bottleneck_size", "shared_gating",
)  # fmt: skip
"""What says nothing of the function in evaluation, or only where another key is set, which asks for it then."""
OLD_ACTIVATIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}
GATES = "its gates average over a text's own tokens here; in `adapters` over what pads it too"

Part = tuple[Described, dict[str, Params]]


def read(place: Path, model: AdaptedEncoder) -> Imported:
    """The module in a folder, and its head where it is one of ours.

    A prefix out of a network is evaluated to keys and values; a union becomes a bundle, and with gates ``unipelt``.

    Raises ContinualError for whatever would not be computed exactly, naming the key or the tensor.
    """
    path = place / "adapter_config.json"
    values = read_json(path)
    tensors = read_tensors(place, FILE, PICKLES, WAY_OUT)
    adapter = convert(values, tensors, model, str(path))
    require_finite(adapter, str(path))
    head, labels = heads.of_adapterhub(place, model, WAY_OUT)
    gates = GATES if isinstance(adapter.method, Bundled) and adapter.method.gates else ""
    notes = tuple(note for note in (head.note, _dropped(values), gates) if note)
    return Imported("adapterhub", values, adapter, head.params, head.name or NO_HEAD, labels, notes)


def convert(values: Mapping[str, Any], tensors: Mapping[str, Tensor], model: AdaptedEncoder, where: str) -> Adapter:
    """Their configuration and tensors as an adapter; gradients go through.

    Raises ContinualError, naming ``where``, for a configuration or tensors that no method here computes the same with.
    """
    name, config = values.get("name"), values.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        raise ContinualError(f"{where}: expected a name and a config, got {name!r:.60} and {config!r:.60}")
    width = values.get("hidden_size")
    if width is not None and width != model.width:
        raise ContinualError(f"{where}: hidden_size: {width!r:.60}; this encoder is {model.width} wide")
    prefix = f"{model.encoder.base_model_prefix}."
    left = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    if len(left) < len(tensors):
        raise ContinualError(f"{where}: the file has tensors twice, with {prefix} before their names and without")
    shared_prefix = f"shared_parameters.{name}."
    shared = {k.removeprefix(shared_prefix): left.pop(k) for k in list(left) if k.startswith(shared_prefix)}
    union = config.get("architecture") == "union"
    configs = config.get("configs") if union else [config]
    if not isinstance(configs, list) or not all(isinstance(one, dict) for one in configs) or not configs:
        raise ContinualError(f"{where}: configs: expected a list of configurations")
    parts = [_part(_settled(one, values), left, shared, name, model, where) for one in configs]
    require_empty(left, "the configuration does not say what it is, or no module of the encoder has a site there")
    gated = any(gate.count(p) for _, params in parts for p in params.values())
    return _bundle(parts, where) if union or gated else Adapter(*parts[0])


def _part(
    values: dict[str, Any], left: dict[str, Tensor], shared: dict[str, Tensor], name: str, model: AdaptedEncoder,
    where: str,
) -> Part:  # fmt: skip
    config = Config(values, where, NEUTRAL)
    kind = config.get("architecture", "bottleneck", str)
    if kind == "bottleneck":
        config.only("inv_adapter", (), "an invertible adapter behind the embeddings has no site")
        made = bottleneck.read(config, left, shared, name, model)
    elif kind == "lora":
        made = _lora(config, left, name, model)
    elif kind == "prefix_tuning":
        made = _prefix(config, left, name, model)
    elif kind == "prompt_tuning":
        raise config.error(
            "architecture", "its prompts stand behind the embeddings, ours before positions are added: another function"
        )
    else:
        raise config.error("architecture", f"{kind!r:.60} is not read; bottleneck, lora, prefix_tuning and union are")
    config.close()
    return made


def _settled(config: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """With what a version meant by its words: LoRA's scale was 1 before 1.1.0, gelu its tanh form before 1.0."""
    version = values.get("version")
    config = dict(config)
    if version is None and config.get("non_linearity") in OLD_ACTIVATIONS:
        config["non_linearity"] = OLD_ACTIVATIONS[config["non_linearity"]]
    match = re.match(r"adapters\.(\d+)\.(\d+)", str(version))
    adds = config.get("architecture") == "lora" and config.get("composition_mode", "add") == "add"
    if adds and match and (int(match[1]), int(match[2])) < (1, 1):
        config["alpha"] = config.get("r")
    return config


def _lora(config: Config, left: dict[str, Tensor], name: str, model: AdaptedEncoder) -> Part:
    """LoRA, or IA³ where ``composition_mode`` is "scale": y ⊙ (alpha · B)."""
    r, alpha = config.get("r", 8, int), config.get("alpha", 8, int, float)
    mode, dropout = config.get("composition_mode", "add", str), config.get("dropout", 0.0, int, float)
    if gated := config.get("use_gating", False, bool):
        alpha = r  # a gate takes the place of alpha/r there, whatever alpha says
        config.only(
            "composition_mode", ("add",), "its gate multiplies the scale itself, ours would how far it is from 1"
        )
    config.only("use_dora", (False,), "DoRA also learns the length of each row of the weights")
    for key in ("vera_d", "vera_b"):
        config.only(key, (), "Vera's random matrices are not in the file")
    if mode not in ("add", "scale") or r < 1 or (mode == "scale" and r != 1):
        raise config.error("composition_mode", f"expected add, or scale with r=1, got {mode!r:.60} with r={r}")
    wanted, params = _linears(config, model), {}
    for path, spots in wanted.items():
        modules.require_same(path, spots, model)
        key, [spot] = f"{path}.loras.{name}.", spots
        b = take(left, f"{key}lora_B", spot.shape.d_out, r)
        if mode == "scale":
            params[spot.address] = {"shift": alpha * b.squeeze(-1) - 1}
        else:
            a = take(left, f"{key}lora_A", r, spot.shape.d_in)
            params[spot.address] = {"a": a, "b": b, "scale": torch.tensor(float(alpha / r))}
            params[spot.address] |= take_gates(left, f"{key}gate.", 1, spot.shape.d_in) if gated else {}
    limits = modules.limits(params, model)
    if mode == "scale":
        return method.named("ia3", limits), params
    return method.named("lora", {"rank": r, "alpha": float(alpha), "dropout": float(dropout)} | limits), params


def _linears(config: Config, model: AdaptedEncoder) -> dict[str, list[modules.Spot]]:
    """The modules that the configuration names."""
    matrices = config.get("attn_matrices", ["q", "v"], list)
    names = {"q": "query", "k": "key", "v": "value"}
    if odd := [one for one in matrices if not isinstance(one, str) or one not in names]:
        raise config.error("attn_matrices", f"expected q, k and v, got {odd[0]!r:.60}")
    sites = {names[one] for one in matrices} if config.get("selfattn_lora", True, bool) else set()
    sites |= {"ffn_in"} if config.get("intermediate_lora", False, bool) else set()
    sites |= {"ffn_out"} if config.get("output_lora", False, bool) else set()
    left_out = config.get("leave_out", [], list)
    found = {}
    for path, spots in modules.linears(model).items():
        number, site = spots[0].address.split("/")
        if len(spots) > 1:
            raise ContinualError("LoRA of `adapters` on a fused projection is not read")
        if site in sites and int(number) not in left_out:
            found[path] = spots
    if not found:
        raise config.error("attn_matrices", "no module of the encoder is named")
    return found


def _prefix(config: Config, left: dict[str, Tensor], name: str, model: AdaptedEncoder) -> Part:
    """[P, 2 L, heads, d]: layer i has keys at 2 i and values behind them, L counts the layers that have a prefix."""
    length, left_out = config.get("prefix_length", 30, int), config.get("leave_out", [], list)
    flat, kind = config.get("flat", False, bool), bottleneck.activation_of(config, "tanh")
    config.only("encoder_prefix", (True,), "the encoder has no prefix then")
    sites = [site for number, site in enumerate(model.attentions) if number not in left_out]
    if not sites:
        why = model.absent.get("attention", "leave_out names every layer")
        raise ContinualError(f"this encoder has no place for the prefix: {why}")
    own = f"prefix_tuning.prefix_tunings.{name}.self_prefix."
    for key in [
        key for key in left if f".attention.self.prefix_tuning.pool.{own.removeprefix('prefix_tuning.')}" in key
    ]:
        original = own + key.rpartition(".self_prefix.")[2]
        if original in left and torch.equal(left[key], left[original]):
            del left[key]  # `adapters` names the same tensors once more in every layer
    wide = 2 * sum(site.shape.d_out for site in sites)
    if flat:
        vector = take(left, f"{own}control_trans", length * wide)
    else:
        bias = left.get(f"{own}control_trans.0.bias")
        hidden = 0 if bias is None else bias.numel()
        table = take(left, f"{own}wte.weight", length, model.width)
        down = take(left, f"{own}control_trans.0.weight", hidden, model.width)
        first = activation(kind)(F.linear(table, down, take(left, f"{own}control_trans.0.bias", hidden)))
        up = take(left, f"{own}control_trans.2.weight", wide, hidden)
        vector = F.linear(first, up, take(left, f"{own}control_trans.2.bias", wide))
    pieces = vector.reshape(length, 2 * len(sites), sites[0].shape.heads, -1).unbind(1)
    params = {
        site.address: {"key": pieces[2 * i].contiguous(), "value": pieces[2 * i + 1].contiguous()}
        for i, site in enumerate(sites)
    }
    if config.get("use_gating", False, bool):
        count = 1 if config.get("shared_gating", True, bool) else 2
        for site in sites:
            layer, end = modules.layer_paths(model)[int(site.address.split("/")[0])], f".prefix_gates.{name}."
            key = next(
                (k for k in left if k.startswith(f"{layer}.") and k.endswith(f"{end}weight")), f"{layer}{end}weight"
            )
            params[site.address] |= take_gates(left, key.removesuffix("weight"), count, model.width)
    return method.named("prefix", {"length": length, "layers": modules.layers_text(params, model)}), params


def _bundle(parts: list[Part], where: str) -> Adapter:
    named = {method.name_of(kind): (kind, params) for kind, params in parts}
    if len(named) < len(parts):
        raise ContinualError(f"{where}: configs: two parts are of the same method, which one bundle cannot hold")
    merged: dict[str, Params] = {}
    for part, (_, params) in named.items():
        for address, p in params.items():
            merged.setdefault(address, {}).update({f"{part}.{key}": tensor for key, tensor in p.items()})
    arguments = {part: folder.arguments(kind) for part, (kind, _) in named.items()}
    counts = {part: max(map(gate.count, params.values())) for part, (_, params) in named.items()}
    if not any(counts.values()):
        return Adapter(method.named("bundle", {"methods": arguments}), merged)
    ungated = tuple(part for part, count in counts.items() if not count)
    gates = {"methods": arguments, "ungated": ungated, "shared": max(counts.values()) == 1}
    return Adapter(method.named("unipelt", gates), merged)


def _dropped(values: Mapping[str, Any]) -> str:
    config = values.get("config")
    parts = config.get("configs", [config]) if isinstance(config, dict) else []
    rates = [part.get("dropout") for part in parts if part.get("architecture") != "lora"]
    return "its dropout is left behind: it acts elsewhere than ours, in training only" if any(rates) else ""
