"""Your own tables as a stream: one task a file, or explicit splits; CSV, TSV or JSONL with columns of text and labels.

Licence and sizes: those of your files. On the command line alone:

    continual run stream=csv 'stream.files=[support.csv,reviews.tsv]'
    continual run stream=csv 'stream.files={support: {train: a.csv, test: b.csv}}'
    continual run stream=csv 'stream.files=[sts.csv]' 'stream.text=[first,second]' stream.head=regress
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from continual.stream.base import Task
from continual.stream.files import complete, sources
from continual.stream.shaped import Shape, columns, rows
from continual.stream.stored import Stored
from continual.stream.table import Row, stored


def tasks(
    files: str | Sequence[str] | Mapping[str, str | Mapping[str, str]],
    text: str | Sequence[str] = "text",
    label: str = "label",
    head: str = "classify",
    score: str = "",
    separator: str = ";",
    valid: int | float = 0.1,
    test: int | float = 0.2,
    seed: int = 0,
    train: int | None = None,
    shots: int | None = None,
) -> list[Task]:
    """The tasks in the order of ``files``.

    files        [a.csv, b.csv]: named after the files; or {name: a.csv} or {name: {train: …, valid: …, test: …}}, where
                 only train is needed
    text, label  the columns; ``text`` is one, two for a pair, or as many as the head reads
    head         what a row is:
                 classify    a text or a pair, and a label
                 multilabel  the same, with labels that ``separator`` divides, or a JSON list; maybe none
                 regress     the same, with a number
                 choice      [question, option, option, …], and the position (from 0) or the text of the right option;
                             empty columns at the end are no options
                 retrieve    [query, passage], without a label
    score        how answers are judged; empty: as the head proposes
    valid, test  rows (or a fraction of them, below 1) held out of train, stratified, where no file is given
    train        at most so many rows of train, a random stratified subset; None: all
    shots        so many rows of train of each class, instead of ``train`` in all; None: all
    The labels are the sorted label strings of train. Each file is read and checked once, a row at a time; its texts are
    not held, but read again when they are needed (``continual/stream/stored.py``), so a file of millions of rows will
    do. What is learned from or tested on is held as token ids, while it is: some 8 bytes a token and half a kilobyte a
    row. Raises DataError: unreadable files, a label that train lacks, or
    that is none; with file and line.
    """
    texts = columns(text, head, separator, "csv")
    result = []
    for name, paths in sources(files, "csv").items():

        def read(part: str, column: str | None, answer: Callable[[Row], Any], shape: Shape, paths=paths) -> Stored:
            return stored(paths[part], texts, column, answer, shape)

        labels, found = rows(head, paths, read, label, separator)
        splits = complete(found, valid, test, seed, train, name, shots=shots)
        result.append(Task(name, labels, **splits, head=head, score=score, source=", ".join(paths.values())))
    return result
