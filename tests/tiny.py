"""Tiny encoders of every family with random weights, and a tokenizer for the toy stream: seconds, no download."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from continual import folder, predict
from continual.adapter import Adapter, fresh, generator
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder, mean_pool
from continual.encoder.load import Encoder, wrap
from continual.head.base import Head
from continual.head.classify import Classify
from continual.method import named
from continual.method.base import Described, Params
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.progress import Progress
from continual.request import Learn, Learned, Recipe
from continual.stream.base import Task
from continual.stream.text import Encoded, Reader
from continual.task_streams import toy
from continual.trainer import Machine, learn
from continual.types import Batch

FAMILIES = ("bert", "roberta", "distilbert", "electra")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_BERT_LIKE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


def tokenizer(words: tuple[str, ...] | list[str] = ()) -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def model(family: str = "bert", vocab: int = 256, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    if family == "bert":
        made = BertModel(BertConfig(vocab_size=vocab, pad_token_id=0, **_BERT_LIKE), add_pooling_layer=False)
    elif family == "roberta":
        made = RobertaModel(RobertaConfig(vocab_size=vocab, pad_token_id=0, **_BERT_LIKE), add_pooling_layer=False)
    elif family == "electra":
        made = ElectraModel(ElectraConfig(vocab_size=vocab, embedding_size=16, pad_token_id=0, **_BERT_LIKE))
    else:
        config = DistilBertConfig(
            vocab_size=vocab, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64, pad_token_id=0
        )
        made = DistilBertModel(config)
    # Fresh BERT weights are so small that every layer is nearly the identity; these make errors visible.
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return made


def encoder(family: str = "bert", seed: int = 0, words: tuple[str, ...] | list[str] = ()) -> Encoder:
    return wrap(model(family, seed=seed), tokenizer(words), name=f"tiny-{family}", max_length=48)


def batch(rows: int = 6, tokens: int = 9, short: int = 5, seed: int = 0, vocab: int = 256) -> Batch:
    """Random rows; the first has only ``short`` tokens, the rest of it is padding."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, vocab, (rows, tokens), generator=rng)
    mask = torch.ones_like(ids)
    ids[0, short:], mask[0, short:] = 0, 0
    return Batch(ids=ids, mask=mask, labels=torch.zeros(rows, dtype=torch.long), row=torch.arange(rows))


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
        train=read(task.train),
        valid=read(task.valid),
        recipe=Recipe(**{"epochs": 2, "batch_size": 16} | recipe),
        lr=adapter.method.lr,
        seed=seed,
    )


def train(model: AdaptedEncoder, *requests: Learn) -> list[Learned]:
    """Learned together, without a word."""
    return learn(model, mean_pool, requests, Machine(), Progress(quiet=True))


def answers(model: AdaptedEncoder, head: Head, params: Params, data: Encoded) -> torch.Tensor:
    """What is loaded now, with this head, says of these rows."""
    return predict.answers(model, HeadBank([(head, params)]), mean_pool, data)


def cast(params: Params, dtype: torch.dtype) -> Params:
    return {name: tensor.to(dtype) for name, tensor in params.items()}


def trained(method: Described, model: AdaptedEncoder, seed: int = 0) -> Adapter:
    """An adapter as after training: every parameter random and far from its initial value."""
    start = fresh(method, model.shapes, model.weights, seed)
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
