"""The content of a picture's file as pixels: upright and in RGB. Needs Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable

from continual.errors import ContinualError, DataError
from continual.stream.base import Image


def opener(size: int | None = None) -> Callable[[str, bytes], Image]:
    """What turns (where a file is, for messages; its content) into an image.

    size  pictures with a longer side than so many pixels are shrunk to it; None: as they are
    Raises ContinualError without Pillow; what is returned raises DataError for what is no picture.
    """
    if size is not None and size < 1:
        raise ContinualError(f"stream.size must be at least 1, or null, got {size}")
    try:
        from PIL import Image as pillow
        from PIL import ImageOps
    except ModuleNotFoundError:
        raise ContinualError("pictures are read with Pillow, which is missing: pip install pillow") from None

    def read(where: str, data: bytes) -> Image:
        try:
            with pillow.open(io.BytesIO(data)) as opened:
                upright = ImageOps.exif_transpose(opened)
                # Straight to RGB, Pillow would warn of a palette whose transparency it drops.
                picture = (upright.convert("RGBA") if "transparency" in upright.info else upright).convert("RGB")
        except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
            raise DataError(f"{where}: cannot be read as a picture: {error}; mend or drop it") from None
        if size is not None:
            picture.thumbnail((size, size))
        return Image(picture.height, picture.width, picture.tobytes())

    return read
