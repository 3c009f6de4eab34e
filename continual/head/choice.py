"""The right one of the options that each question brings along."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.head.base import exact, is_index, texts
from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader, no_texts
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Choice:
    """score = W h of each (question, option), h its pooled states; loss = cross-entropy over the row's own options.

    A row's text is (question, option, option, …): two options or more, not as many in every row. Its label is the index
    of the right option, and so is the answer. Each option is read behind the question, in the encoder's two segments
    (Radford et al. 2018, fig. 1; BERT's SWAG, Devlin et al. 2019, §4.4). W (1, d) from N(0, 0.02). The
    references add a bias, which no answer depends on: it is the same for all options. The task has no labels:
    ``Task.labels`` is empty.
    """

    reads: ClassVar[Literal["pooled", "tokens"]] = "pooled"
    scores: ClassVar[tuple[str, ...]] = ("accuracy",)
    classes: ClassVar[bool] = False

    def path(self) -> Hashable:
        return ("choice",)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        if (why := no_texts(row.text, "a question and at least two options", 3)) is not None:
            return why
        options = len(texts(row)) - 1
        if not is_index(row.label, options):
            return f"expected an option from 0 to {options - 1}, got {row.label!r:.40}"
        return None

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        pairs = [[(texts(row)[0], option) for option in texts(row)[1:]] for row in rows]
        right = [int(i == row.label) for row, options in zip(rows, pairs, strict=True) for i in range(len(options))]
        wanted = tuple(int(row.label) for row in rows)
        return reader.several(pairs, torch.tensor(right, dtype=torch.long), wanted, self.path())

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"weight": torch.randn(1, d, generator=rng) * 0.02}

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return F.linear(states, p["weight"])

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        if example is None:  # of one option each
            example = torch.arange(len(logits), device=logits.device)
        scores, rows = exact(logits[:, 0]), int(example[-1]) + 1
        largest = scores.new_full((rows,), float("-inf")).scatter_reduce(0, example, scores.detach(), "amax")
        behind, none = scores - largest[example], scores.new_zeros(rows)
        right = none.index_add(0, example, behind.where(targets == 1, 0))
        return none.index_add(0, example, behind.exp()).log() - right

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        return [int(options.argmax()) for options in logits[:, 0].split(torch.bincount(example).tolist())]
