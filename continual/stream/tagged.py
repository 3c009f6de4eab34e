"""Sentences whose words are tagged: a word and its tag a line, or words and tags in two files, a sentence a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from continual.errors import DataError

ENTITY = re.compile(r"O|[BIES]-.+", re.S)


class Sentence(NamedTuple):
    """``where`` names file and line."""

    where: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


def columns(
    lines: Iterable[str], where: str, word: int = 0, tag: int = -1, separator: str | None = None
) -> Iterator[Sentence]:
    """An empty line ends a sentence; lines that begin with -DOCSTART- are left out.

    where      the lines are from, for messages
    word, tag  the columns, from 0, or from the end: -1
    separator  between the columns; None: spaces and tabs
    Raises DataError, with the line: fewer or more columns than in the others, no word, no tag.

    >>> [sentence.tags for sentence in columns(["EU B-ORG", "rejects O", "", "Peter B-PER"], "news.txt")]
    [('B-ORG', 'O'), ('B-PER',)]
    """
    words: list[str] = []
    tags: list[str] = []
    first = (0, 0)  # line and number of columns
    begun = 1
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                yield Sentence(f"{where}, the sentence at line {begun}", tuple(words), tuple(tags))
            words, tags, begun = [], [], number + 1
            continue
        fields = re.split("[ \t]+", line.strip(" \t")) if separator is None else line.split(separator)
        first = first if first[1] else (number, len(fields))
        text, mark = _fields(f"{where}, line {number}", line, fields, first, word, tag)
        words.append(text)
        tags.append(mark)
    if words:
        yield Sentence(f"{where}, the sentence at line {begun}", tuple(words), tuple(tags))


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


def slots(said: Iterable[str], marked: Iterable[str], folder: str) -> Iterator[Sentence]:
    """Of the lines of ``seq.in`` and ``seq.out`` of a folder; lines without words are left out.

    Raises DataError: more lines in one of them, more words than tags in a line, or fewer.

    >>> [(s.words, s.tags) for s in slots(["play jazz"], ["O B-genre"], "snips/train")]
    [(('play', 'jazz'), ('O', 'B-genre'))]
    """
    said, marked = list(said), list(marked)
    if len(said) != len(marked):
        raise DataError(f"{folder}: expected as many lines in seq.in as in seq.out, got {len(said)} and {len(marked)}")
    for number, (line, marks) in enumerate(zip(said, marked, strict=True), 1):
        words, tags = tuple(line.split()), tuple(marks.split())
        if len(words) != len(tags):
            raise DataError(
                f"{folder}/seq.in, line {number}: expected a tag for each word, got {len(words)} words and "
                f"{len(tags)} tags in seq.out; mend or drop the line in both"
            )
        if words:
            yield Sentence(f"{folder}/seq.out, line {number}", words, tags)


def begun(sentence: Sentence) -> Sentence:
    """With B- at the first word of each name: IOB1 turns into IOB2. Raises DataError: a tag that marks no name.

    >>> begun(Sentence("", ("a", "b", "c", "d"), ("I-X", "I-X", "B-X", "I-Y"))).tags
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


def tagset(tags: Iterable[str]) -> tuple[str, ...]:
    """The labels of a task: O, if it is there, and the others sorted.

    >>> tagset(["I-PER", "B-PER", "O", "B-LOC"])
    ('O', 'B-LOC', 'B-PER', 'I-PER')
    """
    return tuple(sorted(set(tags), key=lambda tag: (tag != "O", tag)))
