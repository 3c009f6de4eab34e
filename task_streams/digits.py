"""Handwritten digits, two classes at a time: scikit-learn's ``load_digits`` (class-incremental, 5 tasks of 2).

| tasks                | classes      | rows: train, valid, test in all |
|----------------------|--------------|---------------------------------|
| digits-0 to digits-4 | 0 and 1, … 9 | 1,294, 144, 359                 |

Source: the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998; CC BY 4.0), which
scikit-learn carries: nothing is fetched. 1,797 pictures of 8 by 8 pixels in 17 greys (0 to 16), which become 0 to 255
in all colours; an image processor makes them as large as its encoder wants. About 180 of each digit, by 13 people.

Nothing is repeated. There is no official split here: a fifth, stratified, is test, so the same people wrote train and
test, and scores are higher than for new writers. 10 tasks of one class, as some papers have it, cannot be: a task of
one class has nothing to tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from continual.stream.base import Example, Image, Task
from continual.stream.classes import cut, grouped
from continual.stream.sample import split

LABELS = tuple("0123456789")
SOURCE = "UCI optical digits, in scikit-learn; CC BY 4.0"


def tasks(
    size: int = 2,
    order: int | Sequence[str] | None = None,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> list[Task]:
    """The tasks digits-0, digits-1, … of ``size`` digits each.

    size         classes of a task: 2, 5 or 10 (one task)
    order        of the digits: None: 0 to 9; a list such as ["7", "1", …], only these; an integer: random
    shots        rows of train of each class; or
    train        rows of train of each task, random and stratified; None: all
    valid, test  rows of each task; None: all
    seed         of the split, which no order changes, and of the subsets
    Raises DataError: a size that does not fit, what is no digit.
    """
    pool, tested = split(_rows(), 0.2, seed, "digits/test")
    pool, held = split(pool, 0.1, seed, "digits/valid")
    dealt = grouped(LABELS, {"train": pool, "valid": held, "test": tested}, size, order, "digits", source=SOURCE)
    return cut(dealt, train, valid, test, seed, shots)


def _rows() -> list[Example]:
    from sklearn.datasets import load_digits  # a second that other streams need not wait

    pixels, labels = load_digits(return_X_y=True)
    shades = np.rint(np.asarray(pixels) * (255 / 16)).astype(np.uint8)
    rgb = shades[..., None].repeat(3, axis=-1)
    return [Example(Image(8, 8, row.tobytes()), int(label)) for row, label in zip(rgb, labels, strict=True)]
