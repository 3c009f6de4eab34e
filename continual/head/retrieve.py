"""Texts as vectors, so that a query finds its passage."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.head.base import exact
from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader, content_id, no_texts
from continual.stream.units import Encoded

TEMPERATURE = 0.05
"""As in SimCSE (Gao et al. 2021)."""


@dataclass(frozen=True)
class Retrieve:
    """vector = W h / |W h|, h the pooled states of a text. W (d, d) is the identity at first: the encoder's own vector.

    A row's text is (query, passage), each read alone; its label is not looked at, and the task has no labels. The
    answer is the pair of both vectors: a score compares them with those of all rows.

    Loss, with s_ij = cosine(query i, passage j) / 0.05 over the rows of one member in the batch:
    ½ (cross-entropy of row i of s + of column i), with i as the right answer (InfoNCE, van den Oord et al. 2018, eq. 4;
    the others of the batch as negatives, Karpukhin et al. 2020, §3.2; both directions, Radford et al. 2021, fig. 3).
    Rows with the same query or the same passage are no negatives of each other. So a row's loss depends on its batch:
    alone it is 0, and a larger batch is a harder question.
    """

    reads: ClassVar[Literal["pooled", "tokens"]] = "pooled"
    scores: ClassVar[tuple[str, ...]] = ("mrr", "recall_at_1")
    classes: ClassVar[bool] = False

    def path(self) -> Hashable:
        return ("retrieve",)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        return no_texts(row.text, "a query and a passage", 2, 2)

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        pairs = [cast("tuple[str, str]", row.text) for row in rows]
        ids = torch.tensor([[content_id(text) for text in pair] for pair in pairs], dtype=torch.long)
        return reader.several(pairs, ids.flatten(), tuple(content_id(passage) for _, passage in pairs), self.path())

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"weight": torch.eye(d)}

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return F.normalize(exact(F.linear(states, p["weight"])), dim=-1)

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        (query, passage), (asked, told) = (
            (t[0::2], t[1::2])  # the two units of each row
            for t in (exact(logits), targets)
        )
        owner = member[0::2]
        negative = (owner[:, None] == owner) & (asked[:, None] != asked) & (told[:, None] != told)
        right = torch.arange(len(owner), device=owner.device)
        near = query @ passage.T / TEMPERATURE
        near = near.masked_fill(~negative & (right[:, None] != right), float("-inf"))
        return (F.cross_entropy(near, right, reduction="none") + F.cross_entropy(near.T, right, reduction="none")) / 2

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        vectors = exact(logits).cpu().numpy()
        return list(zip(vectors[0::2], vectors[1::2], strict=True))
