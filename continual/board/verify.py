"""One run of a row made again, from the configuration in its record, and held against the row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.special import stdtrit

from continual.board.rank import Row
from continual.board.rules import Job, Rules
from continual.board.sound import ledger
from continual.drive import run_stream
from continual.errors import ContinualError
from continual.reopen import HERE, rebuilt


@dataclass(frozen=True)
class Verdict:
    """old, new   the run's metric in the board and now
    reach      where the run made again must lie (``reach``); None where the row has fewer than two other runs
    other      the package's source is another than it was then
    """

    job: Job
    old: float
    new: float
    reach: tuple[float, float] | None
    other: bool

    @property
    def same(self) -> bool:
        """The very number."""
        return self.new == self.old

    @property
    def holds(self) -> bool:
        """The same number, or one that is no further from it than runs of the row are from each other."""
        return self.same or (self.reach is not None and self.reach[0] <= self.new <= self.reach[1])


def verify(rules: Rules, row: Row, job: Job) -> Verdict:
    """Run it again in a temporary folder, on the device that is there.

    Raises ContinualError where stream, encoder or configuration cannot be had as they were.
    """
    record, values = row.runs[job].record, row.values
    with TemporaryDirectory(prefix="continual-verify-") as folder:
        paths = {name: str(Path(folder) / name) for name in ("runs", "store")}
        parts = rebuilt(record, {"paths": paths, "trainer": {**HERE, "accelerator": "auto"}})
        other = parts.choices["code"] != record.code
        if other and rules.code is not None:
            raise ContinualError(
                f"board {rules.name} is of one state of the package's source, and this is another; run the same one"
            )
        made = run_stream(parts)
    found = rules.formula().measure(ledger(made))
    if found.value is None or found.missing:
        raise ContinualError(f"run {record.id}, made again, has no {rules.metric}: {'; '.join(made.warnings)}")
    others = [value for run, value in values.items() if run != job]  # a raised number would widen its own reach
    return Verdict(job, values[job], found.value, reach(values[job], others), other)


def reach(value: float, others: Sequence[float]) -> tuple[float, float] | None:
    """value ± t · s · √2, with s the deviation of n other runs and t Student's quantile of n-1 degrees.

    Two runs of that spread differ by less 19 times in 20. A run made again has the same seed and order, so it should
    differ by far less: what lies outside was not made as the record says. It is about the run's own number and not the
    row's mean: an order may well be worse than the others, and its number true.

    >>> low, high = reach(0.8, [0.7, 0.8, 0.9])
    >>> round(low, 3), round(high, 3)
    (0.192, 1.408)
    """
    count = len(others)
    if count < 2:
        return None
    half = float(stdtrit(count - 1, 0.975)) * float(np.std(others, ddof=1)) * math.sqrt(2)
    return value - half, value + half
