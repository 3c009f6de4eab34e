"""Your own tagged sentences as a stream: a word and its tag a line, an empty line between sentences; or slot folders.

Licence and sizes: those of your files. On the command line alone:

    continual run stream=conll 'stream.files={news: {train: train.txt, valid: dev.txt, test: test.txt}}'
    continual run stream=conll 'stream.files={booking: {train: atis/train, test: atis/test}}'

The second reads folders with two files, ``seq.in`` (words) and ``seq.out`` (their tags), a sentence a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from continual.errors import DataError
from continual.stream.base import Example, Task
from continual.stream.files import complete, lines, sources

ENTITY = re.compile(r"O|[BIES]-.+", re.S)


class _Sentence(NamedTuple):
    where: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


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
            read = {part: [_begun(sentence) for sentence in sentences] for part, sentences in read.items()}
        tags = {tag for sentences in read.values() for sentence in sentences for tag in sentence.tags}
        labels = tuple(sorted(tags, key=lambda tag: (tag != "O", tag)))
        index = {tag: i for i, tag in enumerate(labels)}
        rows = {
            part: [Example(s.words, tuple(index[tag] for tag in s.tags)) for s in sentences]
            for part, sentences in read.items()
        }
        splits = complete(rows, valid, test, seed, train, name)
        result.append(Task(name, labels, **splits, head="tag", score=score, source=", ".join(paths.values())))
    return result


def _sentences(path: str, word: int, tag: int, separator: str | None) -> Iterator[_Sentence]:
    found = _slots(Path(path)) if Path(path).is_dir() else _columns(path, word, tag, separator)
    empty = True
    for sentence in found:
        empty = False
        yield sentence
    if empty:
        raise DataError(f"{path}: no sentences; expected a word and its tag a line")


def _columns(path: str, word: int, tag: int, separator: str | None) -> Iterator[_Sentence]:
    words: list[str] = []
    tags: list[str] = []
    first = (0, 0)  # line and number of columns
    begun = 1
    for number, line in enumerate(lines(path), 1):
        line = line.rstrip("\r\n")
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                yield _Sentence(f"{path}, the sentence at line {begun}", tuple(words), tuple(tags))
            words, tags, begun = [], [], number + 1
            continue
        fields = re.split("[ \t]+", line.strip(" \t")) if separator is None else line.split(separator)
        first = first if first[1] else (number, len(fields))
        text, mark = _fields(f"{path}, line {number}", line, fields, first, word, tag)
        words.append(text)
        tags.append(mark)
    if words:
        yield _Sentence(f"{path}, the sentence at line {begun}", tuple(words), tuple(tags))


def _fields(where: str, line: str, fields: list[str], first: tuple[int, int], word: int, tag: int) -> tuple[str, str]:
    """The word and the tag of a line."""
    if len(fields) < 2 or len(fields) != first[1]:
        wanted = f"{first[1]} columns, as in line {first[0]}" if first[1] > 1 else "a word and its tag"
        raise DataError(f"{where}: expected {wanted}, got {len(fields)} ({line!r:.60}); mend it, or set separator=")
    for column, what in ((word, "word"), (tag, "tag")):
        if not -len(fields) <= column < len(fields):
            raise DataError(f"{where}: {what}={column} is no column of {len(fields)}; they are counted from 0")
        if not fields[column].strip():
            raise DataError(f"{where}: expected a {what} in column {column}, got {line!r:.60}; mend or drop the line")
    return fields[word], fields[tag].strip()


def _slots(folder: Path) -> Iterator[_Sentence]:
    """Of ``seq.in`` and ``seq.out``, line by line."""
    said, marked = (list(lines(folder / file)) for file in ("seq.in", "seq.out"))
    if len(said) != len(marked):
        raise DataError(f"{folder}: expected as many lines in seq.in as in seq.out, got {len(said)} and {len(marked)}")
    for number, (line, marks) in enumerate(zip(said, marked, strict=True), 1):
        words, tags = tuple(line.split()), tuple(marks.split())
        if len(words) != len(tags):
            raise DataError(
                f"{folder / 'seq.in'}, line {number}: expected a tag for each word, got {len(words)} words and "
                f"{len(tags)} tags in seq.out; mend or drop the line in both"
            )
        if words:
            yield _Sentence(f"{folder / 'seq.out'}, line {number}", words, tags)


def _begun(sentence: _Sentence) -> _Sentence:
    """With B- at the first word of each name.

    >>> _begun(_Sentence("", ("a", "b", "c", "d"), ("I-X", "I-X", "B-X", "I-Y"))).tags
    ('B-X', 'I-X', 'B-X', 'B-Y')
    """
    tags: list[str] = []
    for tag in sentence.tags:
        if not ENTITY.fullmatch(tag):
            raise DataError(
                f"{sentence.where}: expected tags of names: O, or B-, I-, E- or S- and a type, got {tag!r}; "
                "for other tags choose a score that takes them: stream.score=token_accuracy (of words), or accuracy "
                "(of whole sentences)"
            )
        inside = bool(tags) and tags[-1][0] in "BI" and tags[-1][1:] == tag[1:]
        tags.append(f"B{tag[1:]}" if tag[0] == "I" and not inside else tag)
    return sentence._replace(tags=tuple(tags))
