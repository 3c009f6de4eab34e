"""Images as pixels, as the encoder's own image processor prepares them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from continual.errors import DataError
from continual.stream.base import Image, Rows
from continual.stream.text import Reader, Window, content_id
from continual.stream.units import Encoded


class ImageReader(Reader):
    """An image processor in a tokenizer's place: resizing, cropping and normalising are its own."""

    @property
    def pad(self) -> int:
        return 0

    def plain(self, rows: Rows, targets: Tensor, wanted: tuple[Any, ...], kind: Hashable) -> Encoded:
        """A unit an image, (3, height, width). Raises DataError for a row that is a text."""
        return Encoded(
            inputs=tuple(self._pixels(row.text) for row in rows),
            targets=targets,
            row=torch.tensor([content_id(row.text) for row in rows], dtype=torch.long),
            first=torch.arange(len(rows) + 1),
            wanted=wanted,
            kind=kind,
        )

    def tokens(self, texts: Sequence[Any]) -> NoReturn:
        raise _no_words()

    def windows(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> list[Window]:
        raise _no_words()

    def _pixels(self, image: Any) -> Tensor:
        if not isinstance(image, Image):
            raise DataError(
                f"this encoder reads images, got the text {image!r:.80}; choose a text encoder, or image tasks"
            )
        array = np.frombuffer(image.pixels, dtype=np.uint8).reshape(image.height, image.width, 3)
        return self.tokenizer(images=[array], return_tensors="pt", input_data_format="channels_last")["pixel_values"][0]


def _no_words() -> DataError:
    return DataError("this head reads words, and this encoder images; choose a text encoder, or another head")
