"""What a strategy may read of a task: its training rows. What selects and scores stays shut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

from continual.errors import DataError
from continual.stream.base import Example, Task


class Sealed(Sequence[Example]):
    """Rows of which the number is known and nothing else: reading one raises DataError."""

    def __init__(self, task: str, split: str, rows: int) -> None:
        self.task, self.split, self.rows = task, split, rows

    def __len__(self) -> int:
        return self.rows

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        raise DataError(
            f"task {self.task!r}: a strategy read its {self.split} rows; expected train rows only: what learns from, "
            "or selects on, the valid or test rows of a task makes its score too high"
        )


def sealed(task: Task) -> Task:
    """The task with valid and test shut; train is the same object.

    In IDBR (Huang et al. 2021, ``train.py``) a model is selected on the validation rows of all tasks so far: those of
    an old task are then data of the new one. Here no strategy can.
    """
    shut = {split: Sealed(task.name, split, len(task.splits[split])) for split in ("valid", "test")}
    return replace(task, **shut)
