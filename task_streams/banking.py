"""Banking77: 77 fine intents of one bank's customers, as seven tasks of 11 classes each.

Casanueva et al. 2020, CC BY 4.0: banking_data/train.csv, test.csv and categories.json of
github.com/PolyAI-LDN/task-specific-datasets at 57ec275d. 10,003 rows of train (35 to 187 a class), 3,080 of test (40 a
class), the official ones; valid is held out of train, as there is none. (Some published runs took test for it.) 9,992
and 3,079 rows are left after cleaning. Many intents are near each other, and some labels are known to be wrong.

Which classes stand together is a function of ``class_order`` alone, and differs from other code with the same seed. A
mirror holds banking77/train.csv, test.csv and categories.json.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from continual.errors import DataError
from continual.stream.base import Task
from continual.stream.classes import cut, grouped
from continual.stream.clean import cleaned, indexed
from continual.stream.mirror import read_json, read_text
from continual.stream.order import arranged


def tasks(
    size: int = 11,
    class_order: str | int | Sequence[str] | None = 0,
    order: str | int | Sequence[str] | None = None,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with random stratified subsets that depend on ``seed`` and the task's name alone.

    size         classes of a task: 11, or 7, or 77
    class_order  of the intents: an integer: random; a list of intents; None: as in categories.json
    order        of the tasks, classes-0 to classes-6: None: as they come; a list of their names; an integer: random
    shots        rows of train of each class; or
    train        rows of train in all, a task; None: all
    valid        rows of valid of each task, taken from train; None: a tenth of train
    test         rows of test of each task; None: all
    mirror       folder with banking77/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown name or order, a size that does not fit, or data that cannot be had.
    """
    labels = read_json("banking77/categories.json", mirror)
    rows = indexed(cleaned({split: _pairs(split, labels, mirror) for split in ("train", "test")}), labels)
    found = grouped(labels, rows, size, class_order, source="Banking77 (Casanueva et al. 2020), CC BY 4.0")
    return cut(arranged(found, order), train, valid, test, seed, shots)


def _pairs(split: str, labels: Sequence[str], mirror: str | None) -> list[tuple[str, str]]:
    file = f"banking77/{split}.csv"
    reader = csv.DictReader(io.StringIO(read_text(file, mirror), newline=""))
    pairs = []
    for row in reader:
        if row.get("text") is None or row.get("category") not in labels:
            raise DataError(
                f"{file}, line {reader.line_num}: expected a text and one of the categories, got {row!r:.90}"
            )
        pairs.append((row["category"], row["text"]))
    return pairs
