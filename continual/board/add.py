"""Runs into a board: grouped into rows by what they vary, checked, and copied as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from continual.board import records, rules, sound
from continual.board.admit import admit, differing, key_of, lacking
from continual.board.rank import Row
from continual.board.records import Entry
from continual.board.rules import Job, Rules, named
from continual.board.standings import gather
from continual.errors import ContinualError, one_line
from continual.metric.base import metrics
from continual.report.scan import Run, Skipped, scan


@dataclass
class Added:
    """new      {row: how many records of it were copied}; 0: all were there
    refused  by the run's file; of a whole row by that of its first run
    """

    new: dict[str, int] = field(default_factory=dict)
    refused: list[Skipped] = field(default_factory=list)


def add(board: Path, places: Sequence[Path], name: str | None = None) -> Added:
    """Copy the runs below ``places`` that the rules admit, each row whole or not at all.

    name  of the row; None: its strategy and method

    Raises ContinualError where the board or a place does not exist, or ``name`` is given for several rows.
    """
    found, runs = rules.load(board), scan(places)
    added = Added(refused=list(runs.skipped))
    groups = defaultdict[str, list[tuple[Job, Run]]](list)
    for run in runs.runs:
        try:
            values = sound.require(run.record, metrics())
            job, _ = admit(found, run.record, values[found.formula().name])
        except ContinualError as error:
            added.refused.append(Skipped(run.path, one_line(str(error))))
        else:
            groups[key_of(run.record)].append((job, run))
    if name is not None and len(groups) > 1:
        names = ", ".join(sorted(_default(group[0][1]) for group in groups.values()))
        raise ContinualError(f"--as {name} names one row, and these runs make {len(groups)}: {names}")
    there, _ = gather(found, records.read(board)[0])
    for group in groups.values():
        try:
            row = _name(group[0][1], name, [others[0][1] for others in groups.values() if others is not group], there)
            added.new[row] = _copy(board, found, row, group, there)
        except ContinualError as error:
            added.refused.append(Skipped(group[0][1].path, one_line(str(error))))
    return added


def _default(run: Run) -> str:
    return f"{run.record.strategy}-{run.record.method}"


def _name(run: Run, name: str | None, others: Sequence[Run], there: Sequence[Row]) -> str:
    """Raises ContinualError where no name fits these choices alone."""
    chosen = _default(run) if name is None else name
    try:
        named(chosen)
    except ValueError as error:
        raise ContinualError(f"row {error}; give one with --as") from None
    for row in there:
        for entry in list(row.runs.values())[:1]:
            if (row.name == chosen) != (key_of(entry.record) == key_of(run.record)):
                raise ContinualError(_taken(chosen, row.name, entry, run))
    for other in others:
        if _default(other) == chosen:
            what = differing(other.record, run.record)
            raise ContinualError(
                f"two rows would be called {chosen}; they differ in {what}: add each by itself, with --as NAME"
            )
    return chosen


def _taken(chosen: str, row: str, entry: Entry, run: Run) -> str:
    if row != chosen:
        return f"these runs are row {row} of the board; a row has one name, got {chosen}"
    what = differing(entry.record, run.record)
    return f"row {row} of the board differs from these runs in {what}; give them another name with --as"


def _copy(board: Path, found: Rules, row: str, group: Sequence[tuple[Job, Run]], there: Sequence[Row]) -> int:
    held = {job: entry.path for other in there if other.name == row for job, entry in other.runs.items()}
    new = dict[Job, bytes]()
    for job, run in group:
        data, seed, order = run.path.read_bytes(), *job
        known = new.get(job) or (held[job].read_bytes() if job in held else None)
        if known is not None and known != data:
            raise ContinualError(
                f"expected one run of seed {seed}, order {order} for row {row}, got another ({run.path}); a record of "
                "the board is never replaced: delete it first, or leave this run out"
            )
        if known is None:
            new[job] = data
    if lacks := lacking(found, new.keys() | held.keys()):
        raise ContinualError(f"expected every seed with every order for row {row}; it lacks {lacks}")
    for data in new.values():
        records.put(board, row, data)
    return len(new)
