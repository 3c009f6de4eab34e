"""Tiny encoders of every family with random weights, and a tokenizer for the toy stream: seconds, no download."""

from __future__ import annotations

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

from continual.encoder.load import Encoder, wrap
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
