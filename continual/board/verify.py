"""One run of a row made again, from the configuration in its record, and held against the row."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.special import stdtrit

from continual import build
from continual.board.rank import Row
from continual.board.rules import Job, Rules
from continual.board.sound import ledger
from continual.drive import run_stream
from continual.errors import ContinualError
from continual.parts import Parts
from continual.report.record import Record
from continual.typed import tuples


@dataclass(frozen=True)
class Verdict:
    """old, new   the run's metric in the board and now
    reach      where one more run lies, 19 times in 20, by the row's other runs; None where there are fewer than two
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
        """The same number, or both are explained by the spread of the row's other runs.

        Both, for a number that nobody had would else pass wherever the new one is like the others.
        """
        if self.same or self.reach is None:
            return self.same
        low, high = self.reach
        return low <= min(self.old, self.new) and max(self.old, self.new) <= high


def verify(rules: Rules, row: Row, job: Job) -> Verdict:
    """Run it again in a temporary folder, on the device that is there.

    Raises ContinualError where stream, encoder or configuration cannot be had as they were.
    """
    record, values = row.runs[job].record, row.values
    with TemporaryDirectory(prefix="continual-verify-") as folder:
        parts = again(record, Path(folder))
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
    return Verdict(job, values[job], found.value, reach(others), other)


def again(record: Record, folder: Path) -> Parts:
    """The parts of a record's run, with runs and store in ``folder``.

    Raises ContinualError where anything that the result depends on is not what it was, but for the package's source.
    """
    config = {key: value for key, value in record.config.items() if key != "choices"}
    try:
        config["trainer"] = {**config["trainer"], "accelerator": "auto"}
        config["paths"] = {"runs": str(folder / "runs"), "store": str(folder / "store")}
        config["logger"] = {"_target_": "continual.logs.none.Nothing"}
        parts = build.of(tuples(config))
    except KeyError as error:
        raise ContinualError(
            f"run {record.id} has no {error.args[0]} in its configuration: it is of another version of the package"
        ) from None
    now = json.loads(json.dumps(parts.choices))
    then = record.config["choices"]
    if changed := [key for key in now if key != "code" and now[key] != then.get(key)]:
        raise ContinualError(f"run {record.id} was made with another {', '.join(changed)}; restore what it was")
    return parts


def reach(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean ± t · s · √(1 + 1/n): a further value of the same spread lies there with probability 95 %.

    An interval about the mean would be wrong here: it narrows with the number of runs, and single ones leave it.

    >>> low, high = reach([0.7, 0.8, 0.9])
    >>> round(low, 3), round(high, 3)
    (0.303, 1.297)
    """
    count = len(values)
    if count < 2:
        return None
    half = float(stdtrit(count - 1, 0.975)) * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)
    return float(np.mean(values)) - half, float(np.mean(values)) + half
