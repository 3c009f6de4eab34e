"""One label out of C for each text, pair of texts, or image."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.head.base import affine, is_index
from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader, no_text
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Classify:
    """logits = W h + b, h the pooled states; loss = cross-entropy; the answer is the index of the largest logit.

    Where the head has a projection P (M, d), as those of strategy ranpac, relu(P h) stands in the place of h.

    W (C, d) is drawn from N(0, 0.02) and b is zero, as in BERT's heads. A pair of texts is read as the encoder's
    tokenizer joins two segments.
    """

    reads: ClassVar[Literal["pooled", "tokens"]] = "pooled"
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "micro_f1", "matthews")
    classes: ClassVar[bool] = True

    def path(self) -> Hashable:
        return ("classify",)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        if (why := no_text(row.text)) is not None:
            return why
        if not is_index(row.label, len(labels)):
            return f"expected a label from 0 to {len(labels) - 1}, got {row.label!r:.40}"
        return None

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        wanted = tuple(row.label for row in rows)
        return reader.plain(rows, torch.tensor(wanted, dtype=torch.long), wanted, self.path())

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"weight": torch.randn(labels, d, generator=rng) * 0.02, "bias": torch.zeros(labels)}

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return affine(p, states)

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none")

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        return logits.argmax(-1).tolist()
