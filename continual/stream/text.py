"""Texts as token ids, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from continual.files import sha256
from continual.stream.base import Rows
from continual.types import Batch


@dataclass(frozen=True)
class Encoded:
    """The rows of one split as the encoder reads them.

    ids        token ids of each text, special tokens included, cut at the length limit
    labels     (n,) class indices
    row        (n,) 64-bit content ids: f(text), the same in every batch and run
    truncated  how many texts were longer than the limit
    pad        the id that fills batches up
    """

    ids: tuple[Tensor, ...]
    labels: Tensor
    row: Tensor
    truncated: int
    pad: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> Tensor:
        return torch.tensor([len(ids) for ids in self.ids])


class Reader:
    """A tokenizer with a length limit. Each split is read once; asking again costs nothing."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self._read: dict[int, tuple[Rows, Encoded]] = {}

    def __call__(self, rows: Rows) -> Encoded:
        # Keyed by identity; holding the rows keeps the identity from being used again.
        if id(rows) not in self._read:
            self._read[id(rows)] = (rows, self._encode(rows))
        return self._read[id(rows)][1]

    def _encode(self, rows: Rows) -> Encoded:
        texts = [row.text for row in rows]
        # One over the limit tells which texts are longer, at no cost worth naming.
        long = self.tokenizer(texts, truncation=True, max_length=self.max_length + 1, return_attention_mask=False)
        over = [len(ids) > self.max_length for ids in long["input_ids"]]
        cut = iter(self._cut([text for text, is_over in zip(texts, over, strict=True) if is_over]))
        ids = [next(cut) if is_over else ids for ids, is_over in zip(long["input_ids"], over, strict=True)]
        return Encoded(
            ids=tuple(torch.tensor(row, dtype=torch.long) for row in ids),
            labels=torch.tensor([row.label for row in rows], dtype=torch.long),
            row=torch.tensor([content_id(text) for text in texts], dtype=torch.long),
            truncated=sum(over),
            pad=int(self.tokenizer.pad_token_id or 0),
        )

    def _cut(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(texts, truncation=True, max_length=self.max_length, return_attention_mask=False)[
            "input_ids"
        ]


def content_id(text: str) -> int:
    """A signed 64-bit id of a text."""
    return int(sha256(text.encode("utf-8", "surrogatepass"))[:16], 16) - (1 << 63)


def collate(data: Encoded, rows: Sequence[int] | Tensor) -> Batch:
    """These rows, padded to the longest of them."""
    index = torch.as_tensor(rows, dtype=torch.long)
    chosen = [data.ids[i] for i in index.tolist()]
    longest = max(len(ids) for ids in chosen)
    ids = torch.full((len(chosen), longest), data.pad, dtype=torch.long)
    mask = torch.zeros(len(chosen), longest, dtype=torch.long)
    for number, tokens in enumerate(chosen):
        ids[number, : len(tokens)] = tokens
        mask[number, : len(tokens)] = 1
    return Batch(ids=ids, mask=mask, labels=data.labels[index], row=data.row[index])


def join(batches: Sequence[Batch], pad: int) -> Batch:
    """Batches of several members as one: member k is the k-th batch; None of them may carry members already."""
    longest = max(batch.ids.shape[1] for batch in batches)

    def wide(tensor: Tensor, fill: int) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, longest - tensor.shape[1]), value=fill)

    return Batch(
        ids=torch.cat([wide(batch.ids, pad) for batch in batches]),
        mask=torch.cat([wide(batch.mask, 0) for batch in batches]),
        labels=torch.cat([batch.labels for batch in batches]),
        row=torch.cat([batch.row for batch in batches]),
    )
