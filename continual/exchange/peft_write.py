"""Writes a module of ours as a folder that ``peft`` loads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from continual import method
from continual.adapter import EMBEDDING, Adapter, unflatten
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.arch import TOWERS
from continual.errors import ContinualError
from continual.exchange import modules, page
from continual.exchange.modules import Spot
from continual.exchange.peft import FILE, ROOT
from continual.files import require_writable, write_atomic, write_json
from continual.method.base import Params
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.method.prompt import Prompt
from continual.store import Entry

PEFT = "0.21.2"
"""The version whose layout is written."""
HEAD = ("continual_head.safetensors", "continual_head.json")

Written = tuple[dict[str, Any], dict[str, Tensor]]


def write(entry: Entry, model: AdaptedEncoder, folder: Path) -> tuple[str, ...]:
    """A stored module as ``adapter_config.json``, ``adapter_model.safetensors`` and ``README.md``; returns notes.

    It loads with ``PeftModel.from_pretrained(AutoModel.from_pretrained(…), folder)``. A LoRA on query, key and value of
    one fused projection is written as one of higher rank, block by block, where its A are not equal. peft's own heads
    do not compute what ours do, so the head lies beside it in a file of ours.

    Raises ContinualError for a method or a site that peft does not have.
    """
    card = entry.card
    if card.kind != "adapter":
        raise ContinualError(f"a {card.kind} cannot be written for peft, which composes no stored modules")
    adapter = Adapter(method.named(card.method, card.arguments), unflatten(entry.tensors))
    writers: dict[type, Any] = {LoRA: _lora, IA3: _ia3, Prompt: _prompt}
    if type(adapter.method) not in writers:
        raise ContinualError(f"{card.method} cannot be written for peft; can be: lora, ia3, prompt")
    config, tensors = writers[type(adapter.method)](adapter, model)
    common = {
        "auto_mapping": None,
        "base_model_name_or_path": page.hub_id(card.encoder.name) or page.shown(card.encoder.name),
        "inference_mode": True,
        "peft_version": PEFT,
        "revision": None,
        # For this task peft hands embeddings on, which an encoder that takes none does not know.
        "task_type": "FEATURE_EXTRACTION" if model.arch.embeds else None,
    }
    require_writable(folder)
    write_json(folder / "adapter_config.json", {**common, **config})
    write_atomic(folder / FILE, save_tensors({k: t.contiguous() for k, t in tensors.items()}, {"format": "pt"}))
    notes = _head(entry, folder)
    write_atomic(folder / "README.md", page.of_peft(entry, notes, _loader(model)).encode("utf-8"))
    return notes


def _loader(model: AdaptedEncoder) -> str:
    """The class that loads the encoder alone: AutoModel would load both of a family of two."""
    towers = tuple(f"{beginning}_" for beginning in TOWERS.values())
    return type(model.encoder).__name__ if model.encoder.config.model_type.startswith(towers) else "AutoModel"


def _head(entry: Entry, folder: Path) -> tuple[str, ...]:
    for file in HEAD:
        (folder / file).unlink(missing_ok=True)
    if not entry.head:
        return ()
    card = entry.card
    write_atomic(folder / HEAD[0], save_tensors({k: t.contiguous() for k, t in entry.head.items()}))
    write_json(folder / HEAD[1], {"head": card.head, "labels": card.labels, "pooling": card.pooling})
    return (
        f"the head ({card.head}, on {card.pooling}-pooled states) is in {HEAD[0]}, which peft does not read: "
        "its own heads compute something else",
    )


def _lora(adapter: Adapter, model: AdaptedEncoder) -> Written:
    """A, B and alpha/r of each module."""
    kind = adapter.method
    assert isinstance(kind, LoRA)
    made: dict[str, tuple[Tensor, Tensor, float]] = {}
    _require_sites(adapter, modules.linears(model))
    for path, spots, held in _modules(adapter, modules.linears(model), model):
        made[path] = _joined(spots, held)
    ranks = {path: len(a) for path, (a, _, _) in made.items()}
    alphas = {path: _whole(scale * len(a)) for path, (a, _, scale) in made.items()}
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: r for path, r in ranks.items() if r != rank},
        "alpha_pattern": {path: a for path, a in alphas.items() if a != alpha},
        "use_rslora": False,
        "lora_dropout": kind.dropout,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "target_modules": sorted(made),
    }
    tensors = {}
    for path, (a, b, _) in made.items():
        tensors |= {f"{ROOT}{path}.lora_A.weight": a, f"{ROOT}{path}.lora_B.weight": b}
    return config, tensors


def _joined(spots: Sequence[Spot], held: Sequence[Params | None]) -> tuple[Tensor, Tensor, float]:
    """One A (r, d_in), B (d_out, r) and scale for the parts of a module: common ones, or blocks of higher rank."""
    there = [p for p in held if p is not None]
    first = there[0]
    if all(torch.equal(p["a"], first["a"]) and torch.equal(p["scale"], first["scale"]) for p in there):
        none = first["b"].new_zeros(spots[0].shape.d_out, first["b"].shape[1])
        return first["a"], torch.cat([none if p is None else p["b"] for p in held]), float(first["scale"])
    blocks = [p["b"] * p["scale"] for p in there]
    empty = iter(blocks)
    rows, start, rank = [], 0, sum(block.shape[1] for block in blocks)
    for spot, p in zip(spots, held, strict=True):
        row = first["b"].new_zeros(spot.shape.d_out, rank)
        if p is not None:
            block = next(empty)
            row[:, start : start + block.shape[1]] = block
            start += block.shape[1]
        rows.append(row)
    return torch.cat([p["a"] for p in there]), torch.cat(rows), 1.0


def _ia3(adapter: Adapter, model: AdaptedEncoder) -> Written:
    tensors: dict[str, Tensor] = {}
    tables = {True: modules.inputs(model), False: modules.linears(model)}
    _require_sites(adapter, *tables.values())
    inside: list[str] = []
    outside: list[str] = []
    for reads, table in tables.items():
        for path, spots, held in _modules(adapter, table, model):
            ones = [
                torch.ones(spot.shape.d_out) if p is None else 1 + p["shift"]
                for spot, p in zip(spots, held, strict=True)
            ]
            vector = torch.cat(ones)
            if f"{ROOT}{path}.ia3_l" in tensors:
                raise ContinualError(f"{path} is scaled before and behind; peft has one vector for a module")
            tensors[f"{ROOT}{path}.ia3_l"] = vector[None] if reads else vector[:, None]
            (inside if reads else outside).append(path)
    config = {
        "peft_type": "IA3",
        "fan_in_fan_out": False,
        "feedforward_modules": sorted(inside),
        "init_ia3_weights": True,
        "modules_to_save": None,
        "target_modules": sorted([*inside, *outside]),
    }
    return config, tensors


def _prompt(adapter: Adapter, model: AdaptedEncoder) -> Written:
    vectors = adapter.params[EMBEDDING]["prompt"]
    base = model.encoder.config
    config = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": len(vectors),
        "token_dim": vectors.shape[1],
        "num_transformer_submodules": 1,
        "num_attention_heads": int(base.num_attention_heads),
        "num_layers": int(base.num_hidden_layers),
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "modules_to_save": None,
    }
    return config, {"prompt_embeddings": vectors}


def _modules(
    adapter: Adapter, table: Mapping[str, Sequence[Spot]], model: AdaptedEncoder
) -> Iterator[tuple[str, Sequence[Spot], list[Params | None]]]:
    """(path, its sites, what the adapter has at each) of the modules that it changes."""
    for path, spots in table.items():
        held = [adapter.params.get(spot.address) for spot in spots]
        if any(p is not None for p in held):
            modules.require_same(path, spots, model)
            yield path, spots, held


def _require_sites(adapter: Adapter, *tables: Mapping[str, Sequence[Spot]]) -> None:
    """Raises ContinualError for a site that is no linear's output, or input: peft changes nothing else."""
    known = {spot.address for table in tables for spots in table.values() for spot in spots}
    if odd := sorted(adapter.params.keys() - known):
        raise ContinualError(f"the module acts at {odd[0]}, where peft has nothing; it cannot be written for peft")


def _whole(number: float) -> float:
    """An alpha as a person would write it: 16 rather than 16.0."""
    return int(number) if number == int(number) else number
