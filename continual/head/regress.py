"""A number for each text, pair of texts, or image."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.head.base import exact
from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader, no_text
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Regress:
    """number = W h + b, h the pooled states; loss = squared error. W (1, d) from N(0, 0.02), b zero.

    Numbers are learned as they are, as GLUE's STS-B (0 to 5) usually is: nothing is estimated from the training rows,
    so nothing has to be stored beside the head, and an answer is in the unit of the labels. Numbers far from 0 or far
    above 1 take long to reach and make large gradients: let the stream scale them, a correlation does not see it. The
    task has no labels: ``Task.labels`` is empty.
    """

    reads: ClassVar[Literal["pooled", "tokens"]] = "pooled"
    scores: ClassVar[tuple[str, ...]] = ("pearson", "spearman")
    classes: ClassVar[bool] = False

    def path(self) -> Hashable:
        return ("regress",)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        if (why := no_text(row.text)) is not None:
            return why
        if not isinstance(row.label, Real) or isinstance(row.label, bool) or not math.isfinite(row.label):
            return f"expected a finite number, got {row.label!r:.40} ({type(row.label).__name__})"
        return None

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        wanted = tuple(float(row.label) for row in rows)
        return reader.plain(rows, torch.tensor(wanted), wanted, self.path())

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"weight": torch.randn(1, d, generator=rng) * 0.02, "bias": torch.zeros(1)}

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return F.linear(states, p["weight"], p["bias"])

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        return (exact(logits[:, 0]) - targets) ** 2

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        return logits[:, 0].tolist()
