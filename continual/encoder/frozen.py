"""A pretrained encoder as it came: frozen, in evaluation mode, known by its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from continual.adapter import tensors_digest
from continual.encoder.arch import Arch
from continual.encoder.pool import CHOICES, POOLER, POOLS
from continual.encoder.quantize import QuantizedLinear
from continual.encoder.survey import arch_of
from continual.errors import ContinualError, unknown
from continual.files import sha256


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
    if pooling == POOLER and getattr(model, "pooler", model) is None:
        raise ContinualError("encoder.pooling=pooler: this model was made without its pooler; make it with one")
    if pooling == "cls" and not arch.first:
        rest = "mean or pooler" if arch.pooler else "mean"
        raise ContinualError(f"encoder.pooling=cls: no first token of {family} stands for the whole; choose {rest}")
    model.requires_grad_(False).eval()
    return Encoder(
        name=name,
        revision=revision,
        family=family,
        model=model,
        tokenizer=tokenizer,
        fingerprint=fingerprint(model),
        max_length=min(max_length, positions_of(model, arch)),
        reading=_reading(model, tokenizer, pooling),
        pooling=pooling,
    )


def positions_of(model: PreTrainedModel, arch: Arch) -> int:
    """How many tokens a model can read at once; no limit for one that has no positions of its own."""
    config = model.config
    # RoBERTa's positions start after the padding index.
    reserved = int(config.pad_token_id) + 1 if arch.offset else 0
    return int(getattr(config, "max_position_embeddings", None) or 1 << 30) - reserved


def _reading(model: PreTrainedModel, tokenizer: Any, pooling: str) -> str:
    """Names, versions and how the tokenizer last cut or padded a batch are left out: answers do not depend on them."""
    passing = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
    config = {key: value for key, value in model.config.to_dict().items() if key not in passing}
    if pooling == POOLER:
        pooler = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("pooler.")}
        config["pooler"] = tensors_digest(pooler)
    if hasattr(tokenizer, "image_mean"):
        return sha256(json.dumps([config, tokenizer.to_dict()], sort_keys=True, default=str).encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    words = {key: value for key, value in words.items() if key not in ("truncation", "padding")}
    text = json.dumps([config, words], sort_keys=True, default=str)
    return sha256(text.encode("utf-8", "surrogatepass"))


def fingerprint(model: nn.Module) -> str:
    """Digest of ``weights_of`` the model."""
    return tensors_digest(weights_of(model))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """All weights and buffers but the pooler's: it reads the last states, so no module at a site depends on it, and
    ``Encoder.reading`` knows it where it is used."""
    tensors: dict[str, Tensor] = dict(model.state_dict())
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
