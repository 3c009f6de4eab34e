"""A board as it is on disk, every record checked again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
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


def gather(found: Rules, entries: Sequence[Entry]) -> tuple[list[Row], list[Skipped]]:
    """Entries by row, whole or not; and those that are no run of theirs.

    A row is one set of choices: where records of several lie together, that of most of them.
    """
    admitted, rejected = defaultdict[str, list[tuple[Job, Entry]]](list), list[Skipped]()
    name = found.formula().name
    for entry in entries:
        try:
            sound.require(entry.record, [name])
            admitted[entry.row].append((job_of(found, entry.record), entry))
        except ContinualError as error:
            rejected.append(Skipped(entry.path, one_line(str(error))))
    rows = []
    for row, group in admitted.items():
        keys = Counter(key_of(entry.record) for _, entry in group)
        most = next(entry for _, entry in group if key_of(entry.record) == keys.most_common(1)[0][0])
        runs = dict[Job, Entry]()
        for job, entry in group:
            if what := differing(most.record, entry.record):
                rejected.append(Skipped(entry.path, f"differs from {most.path.name} and others in {what}"))
            elif job in runs:
                why = f"a second run of seed {job[0]}, order {job[1]}; the first is {runs[job].path.name}"
                rejected.append(Skipped(entry.path, why))
            else:
                runs[job] = entry
        rows.append(Row(row, runs))
    return rows, rejected


def _path(skip: Skipped) -> str:
    return skip.path.as_posix()
