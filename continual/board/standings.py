"""A board as it is on disk, every record checked again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from continual.board import published, records, rules, sound
from continual.board.admit import admit, differing, key_of, lacking
from continual.board.published import Published
from continual.board.rank import Row, Standing, rank
from continual.board.records import Entry
from continual.board.rules import Job, Rules
from continual.errors import ContinualError, one_line
from continual.report.scan import Skipped


@dataclass(frozen=True)
class Board:
    """Whole rows and published numbers, the best first; what is rejected, by its path below the board."""

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
    sign = -1 if found.formula().loss else 1
    told = sorted(published.load(folder), key=lambda row: (-sign * row.value, row.name))
    return Board(found, rank(found, whole), odd, told)


class Admitted(NamedTuple):
    """A record that is a run of its row, and the board's metric of it."""

    job: Job
    value: float
    entry: Entry


def gather(found: Rules, entries: Sequence[Entry]) -> tuple[list[Row], list[Skipped]]:
    """Entries by row, whole or not; and those that are no run of theirs."""
    admitted, rejected = defaultdict[str, list[Admitted]](list), list[Skipped]()
    name = found.formula().name
    for entry in entries:
        try:
            measured = sound.require(entry.record, [name])[name]
            run = Admitted(*admit(found, entry.record, measured), entry)
        except ContinualError as error:
            rejected.append(Skipped(entry.path, one_line(str(error))))
        else:
            admitted[entry.row].append(run)
    rows = [_row(found, name, runs, rejected) for name, runs in admitted.items()]
    return rows, rejected


def _row(found: Rules, name: str, group: Sequence[Admitted], rejected: list[Skipped]) -> Row:
    """A row is one set of choices: where records of several lie together, that of most of them."""
    keys = [key_of(run.entry.record) for run in group]
    most = group[keys.index(Counter(keys).most_common(1)[0][0])].entry
    runs = dict[Job, Admitted]()
    for run in group:
        if what := differing(most.record, run.entry.record):
            rejected.append(Skipped(run.entry.path, f"differs from {most.path.name} and others in {what}"))
        elif first := runs.get(run.job):
            why = f"a second run of seed {run.job[0]}, order {run.job[1]}; the first is {first.entry.path.name}"
            rejected.append(Skipped(run.entry.path, why))
        else:
            runs[run.job] = run
    there = [runs[job] for job in found.jobs if job in runs]
    return Row(name, {run.job: run.entry for run in there}, {run.job: run.value for run in there})


def _path(skip: Skipped) -> str:
    return skip.path.as_posix()
