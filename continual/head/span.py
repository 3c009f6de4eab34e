"""The answer to a question, as a piece of a text."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from continual.head.base import exact, is_index, row_means, texts
from continual.method.base import Params
from continual.stream.base import Example, Rows
from continual.stream.text import Reader, Window, no_texts
from continual.stream.units import Encoded

LONGEST = 30
"""Tokens of an answer, at most: as in the reference code of BERT for SQuAD."""


class _Mark(NamedTuple):
    """Of a window: the whole context, of each token its characters there, and whether a row may have no answer."""

    context: str
    spans: tuple[tuple[int, int] | None, ...]
    none: bool


@dataclass(frozen=True)
class Span:
    """(start, end) logits = W h_t at each token t; W (2, d) from N(0, 0.02).

    A row's text is (question, context), its label a tuple of (first character, text) of the right answers. An answer is
    a piece of the context, cut from it by characters. A long context is read in windows that overlap, each behind its
    question. Loss: ½ (cross-entropy of the start + of the end) over all tokens of a window, the mean over the windows
    of a row. The target is the first right answer where the window holds all of it, else position 0, the first special
    token (Devlin et al. 2019, §4.2 and §4.3). The answer: over all windows the pair of context tokens with the largest
    start + end, start ≤ end < start + 30; found exactly, where the reference looks at the 20 best starts and ends. The
    reference adds a bias, which no answer depends on: it is the same for all tokens.

    A task whose questions may have no answer (label ``()``) says so by a label for that, as in ``labels=("none",)``.
    There, and only there, ``""`` is answered where position 0 beats the best pair in every window (SQuAD 2.0, without a
    threshold). ``truncated`` counts rows whose question was cut or whose answer no window holds.
    """

    reads: ClassVar[Literal["pooled", "tokens"]] = "tokens"
    scores: ClassVar[tuple[str, ...]] = ("answer_f1", "exact_match")
    classes: ClassVar[bool] = False

    def path(self) -> Hashable:
        return ("span",)

    def problem(self, row: Example, labels: Sequence[str]) -> str | None:
        if (why := no_texts(row.text, "a question and its context", 2, 2)) is not None:
            return why
        if not isinstance(row.label, tuple):
            return f"expected a tuple of answers, got {row.label!r:.80} ({type(row.label).__name__})"
        if not row.label and not labels:
            return 'expected an answer, got (); a task with questions that have none says so: labels=("none",)'
        context = texts(row)[1]
        return next((why for answer in row.label if (why := _no_answer(answer, context)) is not None), None)

    def read(self, reader: Reader, rows: Rows, labels: Sequence[str]) -> Encoded:
        contexts = [texts(row)[1] for row in rows]
        questions = [reader.shortened(texts(row)[0]) for row in rows]
        windows = reader.windows(contexts, questions)
        touched = [_touched(window, rows[window.row]) for window in windows]
        whole: list[set[tuple[int, int]]] = [set() for _ in rows]
        for window, tokens in zip(windows, touched, strict=True):
            whole[window.row].update(span for _, span in tokens)
        targets, lost = [], {i for i, row in enumerate(rows) if row.label}
        for window, tokens in zip(windows, touched, strict=True):
            held = bool(tokens) and {span for _, span in tokens} == whole[window.row]
            targets.append(torch.tensor([tokens[0][0], tokens[-1][0]] if held else [0, 0]))
            lost -= {window.row} if held else set()
        lost |= {i for i, row in enumerate(rows) if questions[i] != texts(row)[0]}
        marks = tuple(_Mark(contexts[window.row], window.spans, bool(labels)) for window in windows)
        wanted = tuple(tuple(text for _, text in row.label) for row in rows)
        return reader.windowed(windows, targets, marks, wanted, self.path(), len(lost))

    def init(self, d: int, labels: int, rng: torch.Generator) -> Params:
        return {"weight": torch.randn(2, d, generator=rng) * 0.02}

    def logits(self, p: Params, states: Tensor, mask: Tensor) -> Tensor:
        return F.linear(states, p["weight"]).masked_fill((mask == 0)[..., None], float("-inf"))

    def loss(self, logits: Tensor, targets: Tensor, example: Tensor | None, member: Tensor) -> Tensor:
        each = F.cross_entropy(exact(logits), targets, reduction="none").mean(1)  # the tokens are the classes
        return row_means(each, torch.ones_like(each), example)

    def decode(self, logits: Tensor, marks: Sequence[Any], example: Tensor) -> list[Any]:
        logits = exact(logits).cpu()
        context = torch.zeros(logits.shape[:2], dtype=torch.bool)
        for unit, mark in enumerate(marks):
            context[unit, [token for token, span in enumerate(mark.spans) if span is not None]] = True
        start, end = logits.masked_fill(~context[..., None], float("-inf")).unbind(-1)
        # (u, T, 30): start at t, end at t + k. With T = 2 and 30 = 3: [[e0, e1, -inf], [e1, -inf, -inf]].
        ends = F.pad(end, (0, LONGEST - 1), value=float("-inf")).unfold(1, LONGEST, 1)
        best, place = (start[..., None] + ends).flatten(1).max(1)
        none = logits[:, 0].sum(-1)
        rows: list[list[tuple[float, str, float]]] = []
        for unit, row in enumerate(example.tolist()):
            if row == len(rows):
                rows.append([])
            rows[row].append((float(best[unit]), _cut(marks[unit], int(place[unit])), float(none[unit])))
        return [_answer(windows, marks[0].none) for windows in rows]


def _answer(windows: Sequence[tuple[float, str, float]], may_be_none: bool) -> str:
    """The best text of the (score, text, score of no answer) of the windows of a row."""
    score, text, _ = max(windows, key=lambda window: window[0])
    return "" if may_be_none and min(none for *_, none in windows) > score else text


def _cut(mark: _Mark, place: int) -> str:
    first, more = divmod(place, LONGEST)
    begin, end = mark.spans[first], mark.spans[min(first + more, len(mark.spans) - 1)]
    return "" if begin is None or end is None else mark.context[begin[0] : end[1]].strip()


def _touched(window: Window, row: Example) -> list[tuple[int, tuple[int, int]]]:
    """(position, characters) of the tokens of a window that the first right answer touches, without spaces around it.

    Where the context in windows reads "in New | New York", the answer "New York" touches one token of the first window
    and two of the second; the second holds all that any window has of it.
    """
    if not row.label:
        return []
    start, text = row.label[0]
    begin, end = start + len(text) - len(text.lstrip()), start + len(text.rstrip())
    return [(i, s) for i, s in enumerate(window.spans) if s is not None and s[0] < end and begin < s[1]]


def _no_answer(answer: object, context: str) -> str | None:
    """Why something is not an answer that stands in a context; None if it is."""
    match answer:
        case (start, str() as text) if is_index(start, len(context) + 1):
            if not text.strip():
                return f"expected the text of an answer, got {text!r}: nothing, or only spaces; without an answer: ()"
            there = context[start : start + len(text)]
            if there == text:
                return None
            found = context.find(text)
            hint = "the context does not hold it" if found < 0 else f"it stands at character {found}"
            return f"expected {text!r:.80} at character {start}, got {there!r:.80}; {hint}"
    return f"expected (first character, text) of an answer in {len(context)} characters, got {answer!r:.80}"
