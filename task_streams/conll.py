"""Your own tagged sentences as a stream: a word and its tag a line, an empty line between sentences; or slot folders.

Licence and sizes: those of your files. On the command line alone:

    continual run stream=conll 'stream.files={news: {train: train.txt, valid: dev.txt, test: test.txt}}'
    continual run stream=conll 'stream.files={booking: {train: atis/train, test: atis/test}}'

The second reads folders with two files, ``seq.in`` (words) and ``seq.out`` (their tags), a sentence a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from continual.errors import DataError
from continual.stream.base import Example, Task
from continual.stream.files import complete, lines, sources
from continual.stream.tagged import Sentence, begun, columns, slots, tagset


def tasks(
    files: str | Sequence[str] | Mapping[str, str | Mapping[str, str]],
    word: int = 0,
    tag: int = -1,
    separator: str | None = None,
    score: str = "",
    valid: int | float = 0.1,
    test: int | float = 0.2,
    seed: int = 0,
    train: int | None = None,
) -> list[Task]:
    """The tasks in the order of ``files``.

    files       [a.txt, b.txt]: named after the files; or {name: a.txt} or {name: {train: …, valid: …, test: …}}, where
                only train is needed; each a file or a slot folder
    word, tag   the columns, from 0, or from the end: -1
    separator   between the columns; None: spaces and tabs
    valid, test sentences (or a fraction of them, below 1) held out of train where no file is given
    train       at most so many sentences of train, a random subset; None: all

    Lines that begin with -DOCSTART- are left out. Names of entities may be marked as IOB1 (B- only between two of a
    kind), IOB2 or IOBES: an I- that begins a name becomes B-, so IOB1 turns into IOB2, and the names stay what
    conlleval and ``entity_f1`` take them for. The labels are O and the sorted tags of all files: in ATIS, test has some
    that train lacks, of which ``continual/stream/lint.py`` warns. Raises DataError, with file and line: a line of fewer
    or more columns than the others, words and tags of different number, a tag that marks no name (where the score is
    that of names).
    """
    result = []
    for name, paths in sources(files, "conll").items():
        read = {part: list(_sentences(path, word, tag, separator)) for part, path in paths.items()}
        if score in ("", "entity_f1"):
            read = {part: [begun(sentence) for sentence in sentences] for part, sentences in read.items()}
        labels = tagset(tag for sentences in read.values() for sentence in sentences for tag in sentence.tags)
        index = {tag: i for i, tag in enumerate(labels)}
        rows = {
            part: [Example(s.words, tuple(index[tag] for tag in s.tags)) for s in sentences]
            for part, sentences in read.items()
        }
        splits = complete(rows, valid, test, seed, train, name)
        result.append(Task(name, labels, **splits, head="tag", score=score, source=", ".join(paths.values())))
    return result


def _sentences(path: str, word: int, tag: int, separator: str | None) -> Iterator[Sentence]:
    found = columns(lines(path), path, word, tag, separator) if not Path(path).is_dir() else _folder(Path(path))
    empty = True
    for sentence in found:
        empty = False
        yield sentence
    if empty:
        raise DataError(f"{path}: no sentences; expected a word and its tag a line")


def _folder(path: Path) -> Iterator[Sentence]:
    return slots(lines(path / "seq.in"), lines(path / "seq.out"), str(path))
