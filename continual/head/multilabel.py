"""Any number of C labels for each text, pair of texts, or image."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.head.base import exact, is_index
from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader, no_text
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Multilabel:
    """logits = W h + b, h the pooled states; an independent yes or no for each label, yes where sigmoid(logit) > 0.5.

    A row's label is the tuple of the indices that hold, maybe of none; so is the answer, in ascending order. Loss: the
    mean over the row's C labels of the binary cross-entropy, as ``MultiLabelSoftMarginLoss``. W (C, d) from N(0, 0.02),
    b zero. Targets (u, C) are 0 or 1, and -1 or absent for the labels that only a wider head has.
    """

    reads: ClassVar[Literal["pooled", "tokens"]] = "pooled"
    scores: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "accuracy")
    classes: ClassVar[bool] = False

    def path(self) -> Hashable:
        return ("multilabel",)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        if (why := no_text(row.text)) is not None:
            return why
        if not isinstance(row.label, tuple):
            return f"expected a tuple of labels, got {row.label!r:.40} ({type(row.label).__name__})"
        for label in row.label:
            if not is_index(label, len(labels)):
                return f"expected labels from 0 to {len(labels) - 1}, got {label!r:.40}"
        if len(set(row.label)) < len(row.label):
            return f"expected each label once, got {row.label!r:.80}"
        return None

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        targets = torch.zeros(len(rows), len(labels))
        for target, row in zip(targets, rows, strict=True):
            target[list(row.label)] = 1
        wanted = tuple(tuple(sorted(row.label)) for row in rows)
        return reader.plain(rows, targets, wanted, self.path())

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"weight": torch.randn(labels, d, generator=rng) * 0.02, "bias": torch.zeros(labels)}

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return F.linear(states, p["weight"], p["bias"])

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        logits = exact(logits)
        targets = F.pad(targets, (0, logits.shape[1] - targets.shape[1]), value=-1).to(logits)
        own = targets >= 0
        each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return each.where(own, 0).sum(1) / own.sum(1)

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        return [tuple(i for i, yes in enumerate(row) if yes) for row in (logits > 0).tolist()]
