"""What streams of a user's own files share: which file is which task and split, and what is held out without one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from continual.errors import DataError
from continual.stream.base import Rows
from continual.stream.sample import few, split, subset

SPLITS = ("train", "valid", "test")
LONGEST = 64  # characters of a task's name

Files = str | Sequence[str] | Mapping[str, str | Mapping[str, str]]
Holdout = Callable[[Rows, int | float, int, str], tuple[Rows, Rows]]


def sources(files: Files, stream: str) -> dict[str, dict[str, str]]:
    """Task name -> split -> path, from [a, b], {name: a} or {name: {train: a, valid: b, test: c}}.

    Raises DataError: no files, two of one name, a split that is none, no file for train.
    """
    if isinstance(files, str):
        files = [files]
    given = files if isinstance(files, Mapping) else named(files)
    if not given:
        raise DataError(f"stream {stream}: no files; give some: 'stream.files=[a,b]'")
    found = {name: {"train": paths} if isinstance(paths, str) else dict(paths) for name, paths in given.items()}
    for name, paths in found.items():
        if "train" not in paths or not set(paths) <= set(SPLITS):
            raise DataError(f"task {name!r}: expected files for train and perhaps valid and test, got {sorted(paths)}")
    return found


def named(files: Sequence[str]) -> dict[str, str]:
    """Task name -> file. Raises DataError for two files of one name, and for one that gives no name.

    >>> named(["data/My Reviews.csv"])
    {'my-reviews': 'data/My Reviews.csv'}
    """
    result: dict[str, str] = {}
    for file in files:
        name = re.sub(r"[^a-z0-9._]+", "-", Path(file).stem.lower()).strip("-._")
        if not 1 <= len(name) <= LONGEST:
            raise DataError(
                f"{file}: its name makes no name of a task, which is 1 to {LONGEST} of a-z 0-9 . _ -; name it: "
                f"'stream.files={{first: \"{file}\"}}'"
            )
        if name in result:
            raise DataError(
                f"{result[name]} and {file} would both be the task {name!r}; name them: "
                f"'stream.files={{first: {result[name]}, second: {file}}}'"
            )
        result[name] = file
    return result


def complete(
    rows: Mapping[str, Rows],
    valid: int | float,
    test: int | float,
    seed: int,
    train: int | None,
    name: str,
    holdout: Holdout = split,
    shots: int | None = None,
) -> dict[str, Rows]:
    """All three splits: those without a file are held out of train; then train is cut to a subset. f(seed, name).

    train, shots  so many rows of train in all, or of each class; None: all. Raises DataError for both
    """
    if shots is not None and train is not None:
        raise DataError(f"{name}: give train={train} rows in all, or shots={shots} of each class, not both")
    rows = dict(rows)
    for part, size in (("test", test), ("valid", valid)):
        if part not in rows:
            rows["train"], rows[part] = holdout(rows["train"], size, seed, f"{name}/{part}")
    rows["train"] = few(subset(rows["train"], train, seed, f"{name}/train"), shots, seed, f"{name}/train")
    return rows


def require_known(found: Iterable[tuple[str, str]], labels: Collection[str], file: str, what: str = "labels") -> None:
    """``found``: each label and where it stands. Raises DataError for labels that train lacks."""
    unknown = [(label, where) for label, where in found if label not in labels]
    if unknown:
        lost = sorted({label for label, _ in unknown})
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise DataError(
            f"{file}: {what} that train lacks: {', '.join(map(repr, lost[:5]))}{more}; train has "
            f"{', '.join(map(repr, list(labels)[:20]))}; add rows to train, or correct or drop these; "
            f"the first is {unknown[0][1]}"
        )


def lines(path: str | Path) -> Iterator[str]:
    """The lines of a text file in utf-8, with their ends. Raises DataError with the line where it is not utf-8."""
    with Lines(path) as found:
        yield from found


class Lines(Iterator[str]):
    """The lines of a text file in utf-8, with their ends, one at a time. Close it, or use it as a context.

    number  how many lines were read
    at      the byte at which the next line begins; ``go`` goes on at another line's

    Raises DataError: no such file; with the line, where it is not utf-8.
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise DataError(f"{path}: no such file; paths are relative to the folder the command runs in")
        self.path, self.number, self.at = path, 0, 0
        self._file = open(path, "rb")  # noqa: SIM115 (closed by __exit__)

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        first, self.number, self.at = self.at == 0, self.number + 1, self.at + len(line)
        try:
            return line.decode("utf-8-sig" if first else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}, line {self.number}: not utf-8 (byte {line[error.start]:#04x}); save the file as utf-8"
            ) from None

    def go(self, at: int) -> None:
        self.at = self._file.seek(at)

    def state(self) -> tuple[int, int]:
        """Size and time of the last change: another one where the file was written to."""
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
