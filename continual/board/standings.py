"""A board as it is on disk, every record checked again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from continual.board import published, records, rules, sound
from continual.board.admit import differing, job_of, key_of, lacking
from continual.board.published import Published
from continual.board.rank import Row, Standing, rank
from continual.board.records import Entry
from continual.board.rules import Job, Rules
from continual.errors import ContinualError, one_line
from continual.report.scan import Skipped


@dataclass(frozen=True)
class Board:
    """Rows that have all their runs, the best first; what is rejected, by its path below the board."""

    rules: Rules
    standings: list[Standing]
    rejected: list[Skipped]
    published: list[Published]


def open_board(folder: Path) -> Board:
    """Raises ContinualError where the folder is no board; of a record that is not admitted the board says why."""
    found = rules.load(folder)
    entries, rejected = records.read(folder)
    rows, more = gather(found, entries)
    whole = list[Row]()
    for row in rows:
        if lacks := lacking(found, set(row.runs)):
            more.append(Skipped(folder / records.FOLDER / row.name, f"not ranked: it lacks {lacks}"))
        else:
            whole.append(row)
    odd = sorted((Skipped(skip.path.relative_to(folder), skip.why) for skip in [*rejected, *more]), key=_path)
    return Board(found, rank(found, whole), odd, published.load(folder))


def gather(found: Rules, entries: list[Entry]) -> tuple[list[Row], list[Skipped]]:
    """Entries by row, whole or not; and those that are no run of theirs."""
    rows, rejected = defaultdict[str, dict[Job, Entry]](dict), list[Skipped]()
    name = found.formula().name
    for entry in entries:
        runs = rows[entry.row]
        try:
            sound.require(entry.record, [name])
            job = job_of(found, entry.record)
            _alike(entry, job, runs)
            runs[job] = entry
        except ContinualError as error:
            rejected.append(Skipped(entry.path, one_line(str(error))))
    return [Row(row, runs) for row, runs in rows.items()], rejected


def _alike(entry: Entry, job: Job, runs: dict[Job, Entry]) -> None:
    """A row is one set of choices, with one run of every seed and order."""
    if job in runs:
        raise ContinualError(f"a second run of seed {job[0]}, order {job[1]}; the first is {runs[job].path.name}")
    for other in list(runs.values())[:1]:
        if key_of(other.record) != key_of(entry.record):
            raise ContinualError(f"differs from {other.path.name} in {differing(other.record, entry.record)}")


def _path(skip: Skipped) -> str:
    return skip.path.as_posix()
