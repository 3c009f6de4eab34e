"""Reads what ``peft`` saved: LoRA, IA³ and prompt tuning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from continual import method
from continual.adapter import EMBEDDING, Adapter
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.pool import POOLER
from continual.errors import ContinualError, unknown
from continual.exchange import heads, modules
from continual.exchange.source import (
    NO_HEAD,
    Config,
    Imported,
    labels_of,
    read_json,
    read_tensors,
    require_empty,
    require_finite,
    require_shape,
)  # fmt: skip
from continual.method.base import Params

FILE = "adapter_model.safetensors"
ROOT = "base_model.model."
PICKLES = ("adapter_model.bin",)
WAY_OUT = "load it in peft and save it again: model.save_pretrained(folder)"
NEUTRAL = (
    "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "task_type",
    "layers_pattern", "megatron_core", "qalora_group_size", "runtime_config", "init_ia3_weights",
    "prompt_tuning_init", "eva_config", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
    "num_attention_heads", "num_layers",
)  # fmt: skip
CLASSIFIERS = ("classifier", "score")
INITS = (True, False, "gaussian", "eva", "orthogonal")
CHANGES_BASE = "it also changed the encoder; save it again with path_initial_model_for_weight_conversion"
LONGEST_PATTERN, MOST_REPEATS = 200, 3


def read(folder: Path, model: AdaptedEncoder) -> Imported:
    """The module in a folder, and its head where it is one of ours.

    LoRA: B A x · alpha/r (or /√r), ranks and alphas by module; a fused projection becomes query, key and value with the
    same A. IA³: on a linear's output, or on its input (peft's "feedforward"). Prompts: before positions, as ours.

    Raises ContinualError for whatever would not be computed exactly, naming the key or the tensor.
    """
    path = folder / "adapter_config.json"
    values = read_json(path)
    config = Config(values, str(path), NEUTRAL)
    kind = config.get("peft_type", "", str)
    readers = {"LORA": _lora, "IA3": _ia3, "PROMPT_TUNING": _prompt}
    if kind not in readers:
        raise unknown(f"peft_type in {path}", kind, readers)
    trained = config.get("modules_to_save", [], list)
    if odd := [name for name in trained if name not in CLASSIFIERS]:
        raise config.error("modules_to_save", f"{odd[0]!r:.60} was trained itself; of a head only a classifier is read")
    tensors = read_tensors(folder, FILE, PICKLES, WAY_OUT)
    head = {_bare(key): tensors.pop(key) for key in list(tensors) if _of_head(key)}
    notes = _left_pooler(tensors, model)
    adapter = readers[kind](config, tensors, model)
    require_finite(adapter, str(path))
    config.close()
    require_empty(tensors, "no module of the encoder has a site there, or the configuration does not say what it is")
    read = _head(kind, values.get("task_type"), head, model)
    labels = labels_of(None, len(read.params["weight"])) if read.params else ()
    notes += [
        note for note in (read.note, "peft keeps no labels: they are LABEL_0 and so on" if labels else "") if note
    ]
    return Imported("peft", values, adapter, read.params, read.name or NO_HEAD, labels, tuple(notes))


def _head(kind: str, task: object, tensors: Mapping[str, Tensor], model: AdaptedEncoder) -> heads.Read:
    if not tensors:
        return heads.Read("", None)
    if task == "SEQ_CLS" and kind == "PROMPT_TUNING":
        return heads.refused("in peft it reads the state of the prompt's first vector, ours reads the text's")
    if task == "SEQ_CLS":
        return heads.classify(tensors, model)
    if task == "TOKEN_CLS":
        return heads.tag(tensors, model)
    return heads.refused(f"task_type is {task}; heads are read for SEQ_CLS and TOKEN_CLS")


def _bare(key: str) -> str:
    return key.removeprefix(ROOT).removeprefix("base_model.")


def _of_head(key: str) -> bool:
    first, *rest = _bare(key).split(".")
    return first in CLASSIFIERS and not {"lora_A", "lora_B", "ia3_l"} & set(rest)


def _left_pooler(tensors: dict[str, Tensor], model: AdaptedEncoder) -> list[str]:
    """What acts on the encoder's pooler changes no state of a token: it is left behind where the pooler is not read."""
    prefix = f"{model.encoder.base_model_prefix}."
    keys = [key for key in tensors if key.removeprefix(ROOT).removeprefix(prefix).startswith("pooler.")]
    if not keys or model.pooling == POOLER:
        return []
    for key in keys:
        del tensors[key]
    return [f"{len(keys)} tensors of the pooler were left behind: this encoder pools by {model.pooling}"]


def _lora(config: Config, tensors: dict[str, Tensor], model: AdaptedEncoder) -> Adapter:
    rank, alpha = config.get("r", 8, int), config.get("lora_alpha", 8, int, float)
    stabilized, dropout = config.get("use_rslora", False, bool), config.get("lora_dropout", 0.0, int, float)
    ranks, alphas = config.get("rank_pattern", {}, dict), config.get("alpha_pattern", {}, dict)
    config.only("use_dora", (False,), "DoRA also learns the length of each row of the weights")
    config.only("bias", ("none",), "biases of the encoder itself were trained")
    config.only("fan_in_fan_out", (False,), "the weights of our families are (out, in)")
    config.only("layer_replication", ([],), "the encoder has more layers than the one it is put on")
    config.only("init_lora_weights", INITS, CHANGES_BASE)
    params: dict[str, Params] = {}
    found = _groups(tensors, ("lora_A.weight", "lora_B.weight"))
    _require_targets(config, found, model)
    for path, (a, b) in found.items():
        spots = modules.find(path, modules.linears(model), model)
        if spots is None:
            raise _no_site(path, model)
        modules.require_same(path, spots, model)
        r = _by_pattern(ranks, path, rank, config, "rank_pattern")
        if r < 1:
            raise config.error("r", f"expected a rank of at least 1 for {path}, got {r}")
        scale = _by_pattern(alphas, path, alpha, config, "alpha_pattern") / (r**0.5 if stabilized else r)
        require_shape(f"{path}.lora_A", a, int(r), spots[0].shape.d_in)
        require_shape(f"{path}.lora_B", b, sum(spot.shape.d_out for spot in spots), int(r))
        for spot, part in zip(spots, b.chunk(len(spots)), strict=True):
            put(params, spot.address, {"a": a.clone(), "b": part.clone(), "scale": torch.tensor(float(scale))})
    options = {"rank": rank, "alpha": float(alpha), "rank_stabilized": stabilized, "dropout": float(dropout)}
    return Adapter(method.named("lora", options | modules.limits(params, model)), params)


def _ia3(config: Config, tensors: dict[str, Tensor], model: AdaptedEncoder) -> Adapter:
    config.only("fan_in_fan_out", (False,), "the weights of our families are (out, in)")
    config.get("feedforward_modules", [], list, str)
    params: dict[str, Params] = {}
    found = _groups(tensors, ("ia3_l",))
    _require_targets(config, found, model)
    for path, (vector,) in found.items():
        inside = vector.dim() == 2 and vector.shape[0] == 1  # peft's feedforward: it scales what the linear reads
        spots = modules.find(path, modules.inputs(model) if inside else modules.linears(model), model)
        if spots is None:
            raise _no_site(path, model, "input" if inside else "output")
        modules.require_same(path, spots, model)
        width = sum(spot.shape.d_out for spot in spots)
        require_shape(f"{path}.ia3_l", vector, *((1, width) if inside else (width, 1)))
        for spot, part in zip(spots, vector.flatten().chunk(len(spots)), strict=True):
            put(params, spot.address, {"shift": part - 1})
    return Adapter(method.named("ia3", modules.limits(params, model)), params)


def _prompt(config: Config, tensors: dict[str, Tensor], model: AdaptedEncoder) -> Adapter:
    length, width = config.get("num_virtual_tokens", 0, int), config.get("token_dim", 0, int)
    config.only("num_transformer_submodules", (1,), "prompts of an encoder and a decoder")
    if EMBEDDING not in model.sites:
        raise ContinualError(f"this encoder can't have prompts: {model.absent.get('embedding', 'it has no such site')}")
    if "prompt_embeddings" not in tensors:
        raise ContinualError("tensor prompt_embeddings is missing")
    vectors = require_shape("prompt_embeddings", tensors.pop("prompt_embeddings"), length, width)
    require_shape("prompt_embeddings", vectors, length, model.shapes[EMBEDDING].d_out)
    return Adapter(method.named("prompt", {"length": length}), {EMBEDDING: {"prompt": vectors}})


def _groups(tensors: dict[str, Tensor], names: tuple[str, ...]) -> dict[str, list[Tensor]]:
    """{module path: its tensors in the order of ``names``}, removed from ``tensors``."""
    paths = {key[: -len(name) - 1]: None for key in tensors for name in names if key.endswith(f".{name}")}
    if not paths:
        raise ContinualError(f"no tensor of the file is called {' or '.join(names)}")
    found = {}
    for path in paths:
        if missing := [name for name in names if f"{path}.{name}" not in tensors]:
            raise ContinualError(f"tensor {path}.{missing[0]} is missing")
        if path.startswith(ROOT):
            found[path.removeprefix(ROOT)] = [tensors.pop(f"{path}.{name}") for name in names]
    return found


def put(params: dict[str, Params], address: str, values: Params) -> None:
    """Raises ContinualError where the file says twice what is at a site."""
    if address in params:
        raise ContinualError(f"the file has two modules for the site {address}, under two names")
    params[address] = values


def _no_site(path: str, model: AdaptedEncoder, side: str = "output") -> ContinualError:
    table = modules.linears(model) if side == "output" else modules.inputs(model)
    choices = sorted({re.sub(r"\.\d+\.", ".*.", known, count=1) for known in table})
    return ContinualError(f"{path}: this encoder has no site on its {side}; it has: {', '.join(choices)}")


def _require_targets(config: Config, found: Iterable[str], model: AdaptedEncoder) -> None:
    """A list of targets, by peft's own rule (a path or its end), names just the modules that have tensors."""
    targets = config.get("target_modules", [], list, str)
    limits = [config.get(key, [], list, str, int) for key in ("layers_to_transform", "exclude_modules")]
    if isinstance(targets, str) or not targets:
        return

    def named(path: str) -> bool:
        return any(path == target or path.endswith(f".{target}") for target in map(str, targets))

    if odd := [path for path in found if not named(path)]:
        raise config.error("target_modules", f"{targets} does not name {odd[0]}, which has tensors")
    prefix = f"{model.encoder.base_model_prefix}."
    held = {path.removeprefix(prefix) for path in found}
    lost = [] if any(limits) else [path for path in modules.linears(model) if named(path) and path not in held]
    if lost:
        raise config.error("target_modules", f"{targets} names {lost[0]}, which has no tensors")


def _by_pattern(patterns: Mapping[str, object], path: str, default: float, config: Config, key: str) -> float:
    """As peft looks a module up: the first pattern that is the path, or what follows a dot in it."""
    for pattern, value in patterns.items():
        if len(pattern) > LONGEST_PATTERN or "(" in pattern or len(re.findall(r"[*+?{]", pattern)) > MOST_REPEATS:
            raise config.error(key, f"the pattern {pattern!r:.60} is too involved to be looked up safely")
        try:
            match = re.match(rf"(.*\.)?({pattern})$", path)
        except re.error as error:
            raise config.error(key, f"{pattern!r:.60} is not a pattern: {error}") from error
        if match:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise config.error(key, f"expected a number for {pattern!r:.60}, got {value!r:.60}")
            return value
    return default
