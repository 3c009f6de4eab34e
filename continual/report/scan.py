"""The runs below some folders: their records, and what is there but is none, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from continual.errors import ContinualError, CorruptError, one_line
from continual.report.record import Record, load

BEGUN = ("begun.json", "ledger.jsonl")
"""A run that is not finished has them, the first from its start."""

LARGEST = 256 * 2**20
"""Bytes of a record that is read: what is larger was not written by a run."""

ARTIFACTS = "mlruns"
"""What ``logger=mlflow`` puts among the runs."""

UNFINISHED = "not finished: the same command goes on with it"


@dataclass(frozen=True)
class Run:
    """A record, and the file that it was read from."""

    path: Path
    record: Record


@dataclass(frozen=True)
class Skipped:
    """What is not shown."""

    path: Path
    why: str


@dataclass(frozen=True)
class Found:
    """Runs by date, the oldest first, and what was skipped, by path."""

    runs: tuple[Run, ...]
    skipped: tuple[Skipped, ...]


def scan(places: Iterable[Path]) -> Found:
    """Each place is a record, the folder of a run, or a folder of such: ``runs``, or ``*.json`` side by side.

    There is no index: the files are the truth, and a thousand are read in a second. A run that two places lead to is
    there once. Raises ContinualError for a place that does not exist.
    """
    files = {file.resolve(): file for place in places for file in candidates(place)}
    runs, skipped = list[Run](), list[Skipped]()
    for file in sorted(files.values()):
        try:
            runs.append(Run(file, _read(file)))
        except ContinualError as error:
            skipped.append(Skipped(file, one_line(str(error))))
    runs.sort(key=lambda run: (run.record.created, run.record.id))
    return Found(tuple(runs), tuple(skipped))


def one(place: Path) -> Record:
    """The record of one run: its file, or its folder. Raises ContinualError where there is none, or none yet."""
    if place.is_dir():
        place = place / "run.json"
    if not place.exists() and _begun(place.parent):
        raise ContinualError(f"{place.parent} is {UNFINISHED}")
    if not place.exists():
        raise ContinualError(f"{place} does not exist: give a finished run's folder, for example runs/ID")
    return _read(place)


def candidates(place: Path) -> Iterator[Path]:
    """What may be a record. A folder of a run without one is named by the record that it lacks."""
    if place.is_file():
        yield place
    elif any((place / name).exists() for name in ("run.json", *BEGUN)):
        yield place / "run.json"
    elif place.is_dir():
        for child in sorted(place.iterdir()):
            if child.suffix == ".json" and not child.is_dir():
                yield child
            elif child.is_dir() and not child.name.startswith(".") and child.name != ARTIFACTS:
                yield child / "run.json"
    else:
        raise ContinualError(f"{place} does not exist; give a run's folder, or a folder of runs")


def _begun(folder: Path) -> bool:
    return any((folder / name).exists() for name in BEGUN)


def _read(file: Path) -> Record:
    if not file.exists():
        raise CorruptError(UNFINISHED if _begun(file.parent) else "no run: it has no run.json")
    if not file.is_file() or file.stat().st_size > LARGEST:
        raise CorruptError(f"no record: expected a file of at most {LARGEST >> 20} MiB")
    record = load(file)
    if record.status == "begun":
        raise CorruptError(UNFINISHED)
    return record
