"""A label for each word of a sentence."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.head.base import affine, exact, is_index, row_means, texts
from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader, Window, no_texts
from continual.stream.units import Encoded


class _Mark(NamedTuple):
    """Of a window: (token, word) of each word that it answers; how many words the row has; what the rest is."""

    answers: tuple[tuple[int, int], ...]
    words: int
    rest: int


@dataclass(frozen=True)
class Tag:
    """logits = W h_t + b at each token t; a word's answer is the largest logit at its first token.

    A row's text is a tuple of words, its label a tuple of label indices, one a word; so is the answer. Words are joined
    by single spaces; tokens are matched to them by characters. Loss: the mean over the words of a row of the
    cross-entropy at their first tokens (Devlin et al. 2019, §5.3; the other tokens are -1 in the targets). A sentence
    longer than the encoder reads is read in windows that overlap, and the first window that has a word answers it, in
    training and after. A word for which the tokenizer makes no token is answered "O", or the first label where there is
    no "O". W (C, d) from N(0, 0.02), b zero. A projection stands before W as in ``head/classify.py``.
    """

    reads: ClassVar[Literal["pooled", "tokens"]] = "tokens"
    scores: ClassVar[tuple[str, ...]] = ("entity_f1", "token_accuracy", "accuracy")
    classes: ClassVar[bool] = False

    def path(self) -> Hashable:
        return ("tag",)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        if (why := no_texts(row.text, "a tuple of words, at least one", 1)) is not None:
            return why
        if not isinstance(row.label, tuple):
            return f"expected a tuple of labels, one a word, got {row.label!r:.40} ({type(row.label).__name__})"
        if len(row.text) != len(row.label):
            return f"expected a label for each word, got {len(row.text)} words and {len(row.label)} labels"
        for place, word in enumerate(row.text):
            if not str(word).strip():
                return f"expected words, got {word!r:.40} as word {place}: nothing, or only spaces"
        for place, label in enumerate(row.label):
            if not is_index(label, len(labels)):
                return f"expected labels from 0 to {len(labels) - 1}, got {label!r:.40} for word {place}"
        return None

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        windows = reader.windows([" ".join(texts(row)) for row in rows])
        rest = labels.index("O") if "O" in labels else 0
        targets, marks = [], []
        answered: list[set[int]] = [set() for _ in rows]
        for window in windows:
            row, done = rows[window.row], answered[window.row]
            answers = tuple((token, word) for token, word in _first_tokens(window, texts(row)) if word not in done)
            done.update(word for _, word in answers)
            target = torch.full((len(window.ids),), -1)
            for token, word in answers:
                target[token] = int(row.label[word])
            targets.append(target)
            marks.append(_Mark(answers, len(row.text), rest))
        return reader.windowed(windows, targets, tuple(marks), tuple(tuple(row.label) for row in rows), self.path())

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"weight": torch.randn(labels, d, generator=rng) * 0.02, "bias": torch.zeros(labels)}

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return affine(p, states)

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        # Units of other heads may be longer: the batch is padded to them, the targets are not.
        logits = exact(logits[:, : targets.shape[1]])
        each = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1, reduction="none")
        return row_means(each.sum(1), (targets >= 0).sum(1), example)

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        rows: list[list[int]] = []
        for best, mark, row in zip(logits.argmax(-1).tolist(), marks, example.tolist(), strict=True):
            if row == len(rows):
                rows.append([mark.rest] * mark.words)
            for token, word in mark.answers:
                rows[row][word] = best[token]
        return [tuple(row) for row in rows]


def _first_tokens(window: Window, words: Sequence[str]) -> list[tuple[int, int]]:
    """(token, word) of the first token of each word in this window.

    A token is of the word that holds its last character: some tokenizers count the space before to the token. With
    words ``["New York", "is"]`` and tokens ``New``, `` York``, `` is`` at characters 0-3, 3-8, 8-11 they are of words
    0, 0 and 1.
    """
    starts = [0, *accumulate(len(word) + 1 for word in words)]
    firsts: dict[int, int] = {}
    for token, span in enumerate(window.spans):
        if span is not None:
            last = span[1] - 1
            word = bisect_right(starts, last) - 1
            if last < starts[word] + len(words[word]):  # else it is the space behind the word
                firsts.setdefault(word, token)
    return [(token, word) for word, token in firsts.items()]
