"""Data sets of the Hugging Face Hub as a stream: one task each, at a pinned commit, with its own columns and splits.

Licence and sizes: those of the data sets; see their pages. Read with ``datasets``, from files only: nothing that needs
a script, and no code of a repository is run. On the command line alone:

    continual run stream=hub 'stream.sets={irony: {repo: cardiffnlp/tweet_eval, config: irony, revision: <40 hex>}}'

Offline, and where the Hub must not be asked: the Hub's own cache, or a folder (``mirror``, CONTINUAL_DATA) that holds
<owner>/<name>/ as the repository is, or just its files of rows: train.parquet, test.csv, validation-00000-of-00001.…;
in a folder for each configuration where there are several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from continual.errors import DataError, unknown
from continual.stream import arrow
from continual.stream.base import Task
from continual.stream.files import SPLITS, complete
from continual.stream.repository import Pin, origin, require_pinned, tables
from continual.stream.shaped import Shape, columns, rows
from continual.stream.stored import Stored
from continual.stream.table import Row
from continual.typed import call, under

if TYPE_CHECKING:
    from datasets import Dataset

USUAL = {"train": "train", "valid": "validation", "test": "test"}
"""The splits as most data sets of the Hub name them."""


@dataclass(frozen=True)
class Source:
    """What is known of one task: an entry of ``sets``, with the stream's own options where it says nothing."""

    repo: str
    revision: str
    config: str
    text: str | Sequence[str]
    label: str
    labels: Sequence[str]
    splits: Mapping[str, str | None]
    head: str
    score: str

    @property
    def pin(self) -> Pin:
        return Pin(self.repo, self.revision, self.config)


def tasks(
    sets: Mapping[str, Mapping[str, Any]],
    text: str | Sequence[str] = "text",
    label: str = "label",
    labels: Sequence[str] = (),
    splits: Mapping[str, str | None] = USUAL,
    head: str = "classify",
    score: str = "",
    separator: str = ";",
    valid: int | float = 0.1,
    test: int | float = 0.2,
    seed: int = 0,
    train: int | None = None,
    shots: int | None = None,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in the order of ``sets``.

    sets         {name: {repo: owner/name, revision: …, config: …}}; ``revision`` is a full commit hash, ``config`` may
                 be left out where there is only one. An entry may also hold text, label, labels, splits, head, score:
                 they go before those below, of ``splits`` each one
    text, label  the columns; ``text`` is one, two for a pair, or as many as the head reads
    labels       the labels in their order; of a column of numbers the names of 0, 1, …. Empty: the column's own names
                 (ClassLabel), or else the sorted label strings of train
    splits       the split that is train, valid, test; null for valid or test: held out of train
    head, score, separator
                 as of ``stream=csv``
    valid, test  rows (or a fraction of them, below 1) held out of train, stratified, where ``splits`` has null
    train        at most so many rows of train, a random stratified subset; None: all
    shots        so many rows of train of each class, instead of ``train`` in all; None: all
    mirror       a folder with <owner>/<name>/; None: the one that CONTINUAL_DATA names
    Rows stay in Arrow files on disk, as those of ``stream=csv`` stay in theirs. Raises ContinualError: a revision that
    is no commit; no network and nothing in cache or mirror; a repository, configuration, split or column that is not
    there, with the choices; a row without a text, a label that has no name; with the row.
    """
    if not sets:
        raise DataError("stream hub: no sets; give some: 'stream.sets={name: {repo: owner/name, revision: …}}'")
    common = {"text": text, "label": label, "labels": labels, "head": head, "score": score}
    sources = {name: _source(name, entry, common, splits, separator) for name, entry in sets.items()}
    result = []
    for name, source in sources.items():
        known, found = _rows(name, source, separator, mirror)
        held = complete(found, valid, test, seed, train, name, shots=shots)
        result.append(
            Task(name, known, **held, head=source.head, score=source.score, source=origin(source.pin, mirror))
        )
    return result


def _source(
    name: str, entry: Mapping[str, Any], common: Mapping[str, Any], splits: Mapping[str, str | None], separator: str
) -> Source:
    """An entry with what it does not say, and all checked that needs no data. Raises ContinualError."""
    path = f"stream.sets.{name}"
    own = entry.get("splits", {})
    if not isinstance(own, Mapping):
        raise DataError(f"{path}.splits: expected {{train: …, valid: …, test: …}}, got {own!r:.60}")
    values = {"revision": "", "config": "", **common, **entry, "splits": {**splits, **own}}
    source = call(Source, under(path, values))
    require_pinned(source.pin)
    columns(source.text, source.head, separator, "hub")
    if not set(source.splits) <= set(SPLITS) or not source.splits.get("train"):
        raise DataError(f"{path}.splits: expected train, and valid and test or null, got {dict(source.splits)}")
    return source


def _rows(name: str, source: Source, separator: str, mirror: str | None) -> tuple[tuple[str, ...], dict[str, Stored]]:
    """The task's labels, and the rows of each split that is named."""
    texts = columns(source.text, source.head, separator, "hub")
    splits = _splits(name, source, tables(source.pin, mirror))
    places = {part: f"{source.pin}, {source.splits[part]}" for part in splits}
    order, spelled = arrow.Names()
    if source.head in ("classify", "multilabel"):
        order, spelled = arrow.names(splits["train"], source.label, source.labels, str(source.pin))

    def read(part: str, column: str | None, answer: Callable[[Row], Any], shape: Shape) -> Stored:
        return arrow.stored(splits[part], places[part], texts, column, answer, shape, spelled)

    return rows(source.head, places, read, source.label, separator, order)


def _splits(name: str, source: Source, found: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """train, valid and test, as far as they are named."""
    wanted = {part: split for part, split in source.splits.items() if split}
    for part, split in wanted.items():
        if split not in found:
            none = f", or null, which holds {part} out of train" if part != "train" else ""
            raise DataError(
                f"task {name!r}, {source.pin}: {unknown('split', split, found)}; set stream.splits.{part} (of all "
                f"tasks) or stream.sets.{name}.splits.{part} to one of them{none}"
            )
    return {part: found[split] for part, split in wanted.items()}
