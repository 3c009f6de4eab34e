"""Tiny encoders of every family with random weights, and a tokenizer for the toy stream: seconds, no download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from continual import folder, predict, score
from continual.adapter import Adapter, fresh, generator
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.arch import ARCHS
from continual.encoder.frozen import Encoder, wrap
from continual.head.base import Head
from continual.head.classify import Classify
from continual.method import named
from continual.method.base import Described, Params
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.progress import Progress
from continual.request import Learn, Learned, Recipe
from continual.stream.base import Task
from continual.stream.text import Reader
from continual.stream.units import Encoded
from continual.task_streams import toy
from continual.trainer import Machine, learn
from continual.types import Batch

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_TEXT = {**_SIZES, "vocab_size": 256, "pad_token_id": 0, "max_position_embeddings": 64}
_ENDS = {"bos_token_id": 2, "eos_token_id": 3}
_PIXELS = {**_SIZES, "image_size": 16, "patch_size": 8}
_RELATIVE = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: hf.BertModel(hf.BertConfig(**_TEXT), add_pooling_layer=False),
    "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(**_TEXT, type_vocab_size=1), add_pooling_layer=False),
    "xlm-roberta": lambda: hf.XLMRobertaModel(hf.XLMRobertaConfig(**_TEXT, type_vocab_size=1), add_pooling_layer=False),
    "camembert": lambda: hf.CamembertModel(hf.CamembertConfig(**_TEXT, type_vocab_size=1), add_pooling_layer=False),
    "distilbert": lambda: hf.DistilBertModel(
        hf.DistilBertConfig(
            vocab_size=256, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64, pad_token_id=0
        )
    ),
    "electra": lambda: hf.ElectraModel(hf.ElectraConfig(**_TEXT, embedding_size=16)),
    "albert": lambda: hf.AlbertModel(hf.AlbertConfig(**_TEXT, embedding_size=16, **_ENDS), add_pooling_layer=False),
    "deberta-v2": lambda: hf.DebertaV2Model(hf.DebertaV2Config(**_TEXT, **_RELATIVE)),
    "mpnet": lambda: hf.MPNetModel(hf.MPNetConfig(**{**_TEXT, "pad_token_id": 1}), add_pooling_layer=False),
    "modernbert": lambda: hf.ModernBertModel(
        hf.ModernBertConfig(**_TEXT, **_ENDS, cls_token_id=2, sep_token_id=3, global_attn_every_n_layers=2)
    ),
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**_PIXELS), add_pooling_layer=False),
    "dinov2": lambda: hf.Dinov2Model(
        hf.Dinov2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=16, patch_size=8
        )
    ),
    "clip_text_model": lambda: hf.CLIPTextModel(hf.CLIPTextConfig(**_TEXT, **_ENDS)),
    "clip_vision_model": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**_PIXELS)),
    "siglip_text_model": lambda: hf.SiglipTextModel(hf.SiglipTextConfig(**_TEXT, **_ENDS)),
    "siglip_vision_model": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**_PIXELS)),
}
FAMILIES = tuple(MODELS)
QUIET = Progress(quiet=True)
IMAGES = tuple(family for family, rows in ARCHS.items() if rows[0].image)
TEXTS = tuple(family for family in FAMILIES if family not in IMAGES)
POST_NORM = ("bert", "roberta", "distilbert", "electra")
"""The four that most tests run on; the whole matrix of methods and families is tests/encoder/test_matrix.py."""


def tokenizer(words: tuple[str, ...] | list[str] = ()) -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def processor() -> Any:
    """Of 16 x 16 pixels."""
    return hf.ViTImageProcessorPil(size={"height": 16, "width": 16})


def model(family: str = "bert", seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    made = MODELS[family]()
    # Fresh BERT weights are so small that every layer is nearly the identity; these make errors visible.
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return made


def encoder(family: str = "bert", seed: int = 0, words: tuple[str, ...] | list[str] = ()) -> Encoder:
    reads = processor() if family in IMAGES else tokenizer(words)
    return wrap(model(family, seed), reads, name=f"tiny-{family}", max_length=48)


def batch(rows: int = 6, tokens: int = 9, short: int = 5, seed: int = 0, vocab: int = 256) -> Batch:
    """Random rows; the first has only ``short`` tokens, the rest of it is padding."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, vocab, (rows, tokens), generator=rng)
    mask = torch.ones_like(ids)
    ids[0, short:], mask[0, short:] = 0, 0
    return Batch(inputs=ids, mask=mask, row=torch.arange(rows))


def batch_for(family: str, rows: int = 6, seed: int = 0) -> Batch:
    """What the family reads: tokens or pixels."""
    if family not in IMAGES:
        return batch(rows, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    return Batch(inputs=torch.randn(rows, 3, 16, 16, generator=rng), mask=None, row=torch.arange(rows))


def methods() -> list[Described]:
    """Every method of the folder, with its default arguments."""
    return [named(name, {}) for name in folder.names("continual.method")]


def adapted(family: str = "bert", dtype: torch.dtype = torch.float32) -> AdaptedEncoder:
    """A tiny encoder with sites, in any precision."""
    return AdaptedEncoder(encoder(family)).to(dtype)


def request(model: AdaptedEncoder, adapter: Adapter, task: Task | None = None, seed: int = 0, **recipe: Any) -> Learn:
    """To learn a toy task from this adapter, in the precision of the encoder."""
    task = task or toy.tasks()[0]
    dtype = next(model.encoder.parameters()).dtype
    head = Classify()
    params = head.init(model.width, len(task.labels), generator(seed, task.name))
    read = Reader(tokenizer(toy.WORDS), max_length=48)
    return Learn(
        name=task.name,
        adapters=(Adapter(adapter.method, {a: cast(p, dtype) for a, p in adapter.params.items()}),),
        head=head,
        head_params=cast(params, dtype),
        train=read(task.train, head, task.labels),
        valid=read(task.valid, head, task.labels),
        score=score.named("accuracy"),
        labels=task.labels,
        recipe=Recipe(**{"epochs": 2, "batch_size": 16} | recipe),
        lr=adapter.method.lr,
        seed=seed,
    )


def train(model: AdaptedEncoder, *requests: Learn) -> list[Learned]:
    """Learned together, all at once, without a word."""
    return learn(model, requests, Machine(group=len(requests)), QUIET)


def answers(model: AdaptedEncoder, head: Head, params: Params, data: Encoded) -> list[Any]:
    """What is loaded now, with this head, says of these rows."""
    return predict.answers(model, HeadBank([(head, params)]), data)


def cast(params: Params, dtype: torch.dtype) -> Params:
    return {name: tensor.to(dtype) for name, tensor in params.items()}


def trained(method: Described, model: AdaptedEncoder, seed: int = 0) -> Adapter:
    """An adapter as after training: every parameter random and far from its initial value."""
    start = fresh(method, model.shapes, model.weights, seed, model.absent)
    rng = generator(seed, "trained")
    dtype = next(model.encoder.parameters()).dtype

    def moved(params: Params) -> Params:
        noise = {name: torch.randn(tensor.shape, generator=rng) * 0.1 for name, tensor in params.items()}
        return {name: (t if name in method.fixed else t + noise[name]).to(dtype) for name, t in params.items()}

    return Adapter(method, {address: moved(params) for address, params in start.params.items()})


def zoo(model: AdaptedEncoder) -> list[Adapter]:
    """Trained adapters of every site method, and more with other ranks, scales, activations and sites."""
    site_methods = [method for method in methods() if hasattr(method, "delta")]
    more = [
        LoRA(rank=2, alpha=3.0),
        LoRA(rank=1, targets=("query", "ffn_in")),
        Bottleneck(8, scale=2.0, targets=("attn_norm", "ffn_norm")),
        Bottleneck(4, activation="gelu", targets=("attn_out", "ffn_out")),
    ]
    return [trained(method, model, seed) for seed, method in enumerate([*site_methods, *more])]


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest absolute difference."""
    assert a.shape == b.shape
    return float((a - b).detach().abs().max())


def equal(a: dict[str, Params], b: dict[str, Params]) -> bool:
    """Whether two adapters have the same tensors, bit by bit."""
    return {k: v.keys() for k, v in a.items()} == {k: v.keys() for k, v in b.items()} and all(
        torch.equal(tensor, b[address][name]) for address, params in a.items() for name, tensor in params.items()
    )
