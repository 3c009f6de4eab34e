"""Heads of other libraries: imported where one of ours computes the same, refused with the reason where none does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.pool import POOLER
from continual.errors import ContinualError
from continual.exchange.source import labels_of, read_json, read_tensors, require_empty
from continual.method.base import Params

HEAD_FILE, HEAD_PICKLES = "model_head.safetensors", ("pytorch_model_head.bin",)
POOLED = ("bert", "albert")
"""Families whose sequence classifier of transformers is one linear on the pooler."""
TOKENS = ("albert", "bert", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta", "camembert")
"""Families whose token classifier of transformers is one linear on each state."""


class Read(NamedTuple):
    """A head of ours, or a note that says why there is none."""

    name: str
    params: Params | None
    note: str = ""


def classify(tensors: Mapping[str, Tensor], model: AdaptedEncoder) -> Read:
    """Of a sequence classifier of transformers: "classifier.weight" (C, d) and its bias."""
    family = model.encoder.config.model_type
    if family not in POOLED or not _is_linear(tensors):
        return refused(f"the sequence classifier of {family} is more than one linear on pooled states")
    if model.pooling != POOLER:
        return refused(
            f"it reads the encoder's pooler, and this encoder pools by {model.pooling}: import it with pooling=pooler"
        )
    return Read("classify", linear(tensors["classifier.weight"], tensors.get("classifier.bias"), model))


def tag(tensors: Mapping[str, Tensor], model: AdaptedEncoder) -> Read:
    """Of a token classifier of transformers."""
    family = model.encoder.config.model_type
    if family not in TOKENS or not _is_linear(tensors):
        return refused(f"the token classifier of {family} is more than one linear on states")
    return Read("tag", linear(tensors["classifier.weight"], tensors.get("classifier.bias"), model))


def of_adapterhub(folder: Path, model: AdaptedEncoder, way_out: str) -> tuple[Read, tuple[str, ...]]:
    """The head beside a module, and its labels: a flexible head of one linear, or that of a model of transformers."""
    if not (folder / "head_config.json").is_file():
        return Read("", None), ()
    values = read_json(folder / "head_config.json")
    tensors = read_tensors(folder, HEAD_FILE, HEAD_PICKLES, way_out)
    config = values.get("config")
    read = _flexible(config, values.get("name"), tensors, model) if config else _static(values, tensors, model)
    if read.params is None:
        return read, ()
    given = config.get("label2id") if isinstance(config, dict) else values.get("label2id")
    return read, labels_of(given, len(read.params["weight"]))


def _static(values: Mapping[str, Any], tensors: Mapping[str, Tensor], model: AdaptedEncoder) -> Read:
    kind = str(values.get("model_class"))
    if kind.endswith("ForSequenceClassification"):
        return classify(tensors, model)
    if kind.endswith("ForTokenClassification"):
        return tag(tensors, model)
    return refused(f"heads of {kind:.60} are not read")


def _flexible(config: Any, name: object, tensors: dict[str, Tensor], model: AdaptedEncoder) -> Read:
    if not isinstance(config, dict):
        raise ContinualError(f"head_config.json: expected a config, got {config!r:.60}")
    kind, layers = config.get("head_type"), config.get("layers")
    if kind not in ("classification", "tagging"):
        return refused(f"heads of type {kind!r:.60} are not read")
    if layers != 1:
        return refused(f"it has {layers!r:.60} layers, ours is one linear")
    pooling = POOLER if config.get("use_pooler") else "cls"
    if kind == "classification" and model.pooling != pooling:
        return refused(f"it reads states pooled by {pooling}, this encoder pools by {model.pooling}")
    left = dict(tensors)
    key = f"heads.{name}.1."
    if f"{key}weight" not in left:
        raise ContinualError(f"tensor {key}weight is missing")
    params = linear(left.pop(f"{key}weight"), left.pop(f"{key}bias", None), model)
    require_empty(left, "the head's configuration does not say what it is")
    if config.get("num_labels") != len(params["weight"]):
        raise ContinualError(
            f"tensor {key}weight has {len(params['weight'])} labels; expected {config.get('num_labels')}"
        )
    return Read("tag" if kind == "tagging" else "classify", params)


def refused(why: str) -> Read:
    """The module stays, its head does not."""
    return Read("", None, f"the head was left behind: {why}")


def linear(weight: Tensor, bias: Tensor | None, model: AdaptedEncoder) -> Params:
    """(C, d) and (C,). Raises ContinualError for other shapes."""
    if weight.dim() != 2 or weight.shape[1] != model.width:
        raise ContinualError(f"the head's weight has the shape {list(weight.shape)}; expected [labels, {model.width}]")
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    if bias.shape != weight.shape[:1]:
        raise ContinualError(f"the head's bias has the shape {list(bias.shape)}; expected [{len(weight)}]")
    return {"weight": weight, "bias": bias}


def _is_linear(tensors: Mapping[str, Tensor]) -> bool:
    return "classifier.weight" in tensors and set(tensors) <= {"classifier.weight", "classifier.bias"}
