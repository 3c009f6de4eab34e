"""Rows for every head, and a tokenizer that reads them. A new head needs rows in ``ROWS``, and ``perfect`` logits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from continual.head import named
from continual.head.base import Head
from continual.method.base import Params
from continual.stream.base import Example
from continual.stream.text import Reader
from continual.stream.units import Encoded, collate

WIDTH = 8
WORDS = [f"w{number}" for number in range(400)]
LONG = " ".join(WORDS[:40])  # some windows

ROWS: dict[str, tuple[list[Example], tuple[str, ...]]] = {
    "classify": ([Example("w1 w2", 0), Example(("w3", "w4 w5"), 2), Example("w6 w7 w8 w9", 1)], ("a", "b", "c")),
    "multilabel": ([Example("w1 w2", (0, 2)), Example("w3", ()), Example("w4 w5 w6", (1,))], ("a", "b", "c")),
    "regress": ([Example(("w1 w2", "w3"), 0.5), Example(("w4", "w5"), 4.75), Example(("w6", "w7 w8"), 0.0)], ()),
    "tag": (
        [
            Example(("w1", "w2"), (0, 1)),
            Example(tuple(WORDS[:40]), tuple(number % 3 for number in range(40))),
            Example(("w3",), (2,)),
        ],
        ("O", "B-X", "I-X"),
    ),
    "span": (
        [
            Example(("w1 w2", "w3 w4 w5"), ((3, "w4 w5"), (0, "w3"))),
            Example(("w6", LONG), ((LONG.index("w30"), "w30 w31"),)),
            Example(("w7", "w8 w9"), ((0, "w8"),)),
        ],
        (),
    ),
    "choice": (
        [Example(("w1", "w2", "w3"), 1), Example(("w4", "w5", "w6", "w7 w8"), 0), Example(("w9", "w1", "w2"), 0)],
        (),
    ),
    "retrieve": ([Example(("w1", "w2 w3"), None), Example(("w4 w5", "w6"), None), Example(("w7", "w8"), None)], ()),
}


def tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    """A token a word, ``[CLS] first [SEP] second [SEP]``."""
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def reader(max_length: int = 16) -> Reader:
    return Reader(tokenizer(), max_length)


def read(name: str, max_length: int = 16) -> tuple[Head, Encoded]:
    """A head and its sample rows, read."""
    rows, labels = ROWS[name]
    return named(name), reader(max_length)(rows, named(name), labels)


def marks(data: Encoded, rows: list[int]) -> list[Any]:
    return [data.marks[unit] if data.marks else None for unit in data.units(rows)[0].tolist()]


def targets(data: Encoded, rows: list[int]) -> Tensor:
    return collate(data, rows).targets[data.kind]


def states(data: Encoded, rows: list[int], reads: str, tokens: int = 0) -> tuple[Tensor, Tensor]:
    """States of the units of these rows, a function of the unit alone, and their mask. Padding is full of rubbish.

    ``tokens``: how long the batch is at least.
    """
    units = data.units(rows)[0].tolist()
    longest = max([tokens, *(len(data.inputs[unit]) for unit in units)])
    mask = torch.zeros(len(units), longest, dtype=torch.long)
    table = 100 * torch.randn(len(units), longest, WIDTH, dtype=torch.double)
    for place, unit in enumerate(units):
        length = len(data.inputs[unit])
        rng = torch.Generator().manual_seed(unit)
        table[place, :length] = torch.randn(length, WIDTH, generator=rng, dtype=torch.double)
        mask[place, :length] = 1
    return (table[:, 0] if reads == "pooled" else table), mask


def params(name: str, seed: int = 0) -> Params:
    """As after training: nothing is zero."""
    rng = torch.Generator().manual_seed(seed)
    start = named(name).init(WIDTH, len(ROWS[name][1]), rng)
    return {key: tensor.double() + torch.randn(tensor.shape, generator=rng).double() for key, tensor in start.items()}


def losses(name: str, p: Params, data: Encoded, rows: list[int], tokens: int = 0) -> Tensor:
    """The loss of each of these rows in one batch of one member."""
    head = named(name)
    logits = head.logits(p, *states(data, rows, head.reads, tokens))
    _, example = data.units(rows)
    return head.loss(logits, targets(data, rows), example, torch.zeros_like(example))


def perfect(name: str, wanted: Tensor, labels: int) -> Tensor:
    """The logits of a head that knows the targets of its units."""
    match name:
        case "classify":
            return 10.0 * F.one_hot(wanted, labels)
        case "multilabel":
            return 20.0 * wanted - 10
        case "regress":
            return wanted[:, None]
        case "tag":
            return 10.0 * F.one_hot(wanted.clamp_min(0), labels)
        case "choice":
            return 10.0 * wanted[:, None]
        case "span":
            length = 16
            return 10.0 * F.one_hot(wanted, length).transpose(1, 2)
    raise KeyError(f"say in tests/head/samples.py what perfect logits of {name!r} are")
