"""Texts as token ids: whole, in pairs, or in windows where they are longer than the encoder reads at once."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Protocol

import torch
from torch import Tensor

from continual.errors import ContinualError, DataError
from continual.files import sha256
from continual.stream.base import Image, Rows
from continual.stream.units import Encoded


class Readable(Protocol):
    """What a reader needs to know of a head."""

    def path(self) -> Hashable: ...
    def read(self, reader: Any, rows: Rows, labels: Sequence[str]) -> Encoded: ...


@dataclass(frozen=True)
class Window:
    """A piece of a text that fits the encoder. ``spans``: of each token the characters of the (second) text that it
    stands for; None for special tokens and for those of a first text."""

    row: int
    ids: Tensor
    segment: Tensor | None
    spans: tuple[tuple[int, int] | None, ...]


class Reader:
    """A tokenizer with a length limit. Asking again for rows as a kind of head read them last costs nothing.

    Of rows that are read with one label set after the other, as one head for all tasks does, only the last is kept.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self._read: dict[tuple[int, type], tuple[Rows, Hashable, Encoded]] = {}

    @property
    def pad(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    def __call__(self, rows: Rows, head: Readable, labels: Sequence[str]) -> Encoded:
        """The rows as ``head`` wants them."""
        # Keyed by identity; holding the rows keeps the identity from being used again.
        key, how = (id(rows), type(head)), (head.path(), tuple(labels))
        if key not in self._read or self._read[key][1] != how:
            self._read[key] = (rows, how, head.read(self, rows, labels))
        return self._read[key][2]

    def plain(self, rows: Rows, targets: Tensor, wanted: tuple[Any, ...], kind: Hashable) -> Encoded:
        """A unit a row: a text, or two texts in the two segments of the encoder. Longer ones lose their end."""
        return self.several([[row.text] for row in rows], targets, wanted, kind)

    def several(
        self, rows: Sequence[Sequence[Any]], targets: Tensor, wanted: tuple[Any, ...], kind: Hashable
    ) -> Encoded:
        """A unit for each text, or pair of texts, of a row; ``targets`` of each unit."""
        texts = [text for row in rows for text in row]
        owner = [number for number, row in enumerate(rows) for _ in row]
        ids, segments, cut = self.tokens(texts)
        return Encoded(
            inputs=ids,
            targets=targets,
            row=torch.tensor([content_id(text) for text in texts], dtype=torch.long),
            first=torch.tensor([0, *accumulate(len(row) for row in rows)]),
            wanted=wanted,
            kind=kind,
            segments=segments,
            truncated=len({owner[i] for i in cut}),
            pad=self.pad,
        )

    def windowed(
        self,
        windows: Sequence[Window],
        targets: Sequence[Tensor],
        marks: tuple[Any, ...],
        wanted: tuple[Any, ...],
        kind: Hashable,
        truncated: int = 0,
    ) -> Encoded:
        """A unit for each window; rows with several have several. ``targets`` and ``marks`` of each window."""
        counts = torch.bincount(torch.tensor([w.row for w in windows], dtype=torch.long), minlength=len(wanted))
        return Encoded(
            inputs=tuple(window.ids for window in windows),
            targets=targets,
            row=torch.tensor([content_id(str(window.ids.tolist())) for window in windows], dtype=torch.long),
            first=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            wanted=wanted,
            kind=kind,
            segments=tuple(window.segment for window in windows if window.segment is not None) or None,
            marks=marks,
            truncated=truncated,
            pad=self.pad,
        )

    def tokens(self, texts: Sequence[Any]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...] | None, list[int]]:
        """Of each text (or pair): ids and segments (None without pairs), and which were cut at the limit.

        Raises DataError for an image.
        """
        if image := next((text for text in texts if isinstance(text, Image)), None):
            raise DataError(
                f"this encoder reads texts, got an image of {image.height} x {image.width} pixels; "
                "choose an image encoder, or text tasks"
            )
        # One over the limit tells which texts are longer, at no cost worth naming.
        ids, segments = self._tokenize(texts, self.max_length + 1)
        over = [i for i, own in enumerate(ids) if len(own) > self.max_length]
        for i, *cut in zip(over, *self._tokenize([texts[i] for i in over], self.max_length), strict=True):
            ids[i], segments[i] = cut
        return tuple(ids), tuple(segments) if any(isinstance(text, tuple) for text in texts) else None, over

    def _tokenize(self, texts: Sequence[Any], limit: int) -> tuple[list[Tensor], list[Tensor]]:
        """Ids and segments of each."""
        asked = [text if isinstance(text, str) or len(text) == 2 else text[0] for text in texts]
        ids, segments = list[Tensor](), list[Tensor]()
        for first in range(0, len(asked), 1000):  # what the tokenizer gives takes ten times what is kept of it
            read = self.tokenizer(
                asked[first : first + 1000],
                truncation=True,
                max_length=limit,
                return_attention_mask=False,
                return_token_type_ids=True,
            )
            ids += _tensors(read["input_ids"])
            segments += _tensors(read["token_type_ids"])
        return ids, segments

    def windows(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> list[Window]:
        """Each text whole, in windows that overlap by a quarter; with ``questions`` each window begins with its own.

        ``shortened`` makes questions short enough.

        Raises ContinualError without a fast tokenizer, and where a window is too short to go on by more than a token.
        """
        if not texts:
            return []
        self._knows_positions()
        overlap, taken = self.max_length // 4, self.tokenizer.num_special_tokens_to_add(questions is not None)
        if questions is not None:
            taken += self._most
        if self.max_length - taken <= overlap:
            raise ContinualError(
                f"expected windows with room for more than {taken} tokens (special ones, question) and the overlap of "
                f"{overlap}, got a length limit of {self.max_length}; raise encoder.max_length"
            )
        if questions is None:
            pair, side, cut = (list(texts),), 0, "only_first"
        else:
            pair, side, cut = (list(questions), list(texts)), 1, "only_second"
        read = self.tokenizer(
            *pair,
            truncation=cut,
            max_length=self.max_length,
            stride=overlap,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        return [_window(read, i, side) for i in range(len(read["input_ids"]))]

    def shortened(self, question: str) -> str:
        """As much of a question as fills a third of a window, so that each has room for more.

        Raises ContinualError without a fast tokenizer.
        """
        self._knows_positions()
        spans = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return question if len(spans) <= self._most else question[: spans[self._most - 1][1]]

    @property
    def _most(self) -> int:
        """The tokens of a question before its text."""
        return max(1, self.max_length // 3)

    def _knows_positions(self) -> None:
        """Only fast tokenizers know which characters a token stands for."""
        if not getattr(self.tokenizer, "is_fast", False):
            raise ContinualError(
                "this head reads positions in a text: expected a fast tokenizer (tokenizer.json), "
                f"got {type(self.tokenizer).__name__}; choose an encoder that has one"
            )


def _tensors(lists: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    """One each, as views of one: made one by one they would take as long as the tokenizer does."""
    return torch.tensor(list(chain.from_iterable(lists)), dtype=torch.long).split([len(own) for own in lists])


def _window(read: Any, i: int, side: int) -> Window:
    """The i-th that the tokenizer gave; ``side`` is 1 where a question stands before the text."""
    spans = zip(read["offset_mapping"][i], read.sequence_ids(i), strict=True)
    return Window(
        row=read["overflow_to_sample_mapping"][i],
        ids=torch.tensor(read["input_ids"][i], dtype=torch.long),
        segment=torch.tensor(read["token_type_ids"][i], dtype=torch.long) if side else None,
        spans=tuple(tuple(span) if of == side and span[1] > span[0] else None for span, of in spans),
    )


def content_id(text: str | tuple[str, ...] | Image) -> int:
    """A signed 64-bit id of a text, several texts, or an image."""
    if isinstance(text, Image):
        data = text.pixels
    else:
        data = (text if isinstance(text, str) else "\x1f".join(text)).encode("utf-8", "surrogatepass")
    return int(sha256(data)[:16], 16) - (1 << 63)


def no_text(text: object) -> str | None:
    """Why something is not a text, a pair of texts, or an image; None if it is."""
    if isinstance(text, Image):
        wanted = 3 * text.height * text.width
        return None if len(text.pixels) == wanted else f"expected {wanted} bytes of pixels, got {len(text.pixels)}"
    pair = isinstance(text, tuple) and len(text) == 2
    return no_texts(text if pair else (text,), "a text or a pair of texts", 1)


def no_texts(texts: object, what: str, least: int, most: int = sys.maxsize) -> str | None:
    """Why something is not ``what``, a tuple of so many texts; None if it is."""
    if not isinstance(texts, tuple) or not least <= len(texts) <= most:
        return f"expected {what}, got {texts!r:.80} ({type(texts).__name__})"
    for text in texts:
        if not isinstance(text, str):
            return f"expected {what}, got {text!r:.80} ({type(text).__name__})"
        if _torn(text):
            return f"expected whole characters, got {text!r:.80}, which holds half of one (a lone surrogate)"
    return None


def _torn(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
