"""Rows that stay in their file: the same rows as if they were held, and nothing held of their texts."""

from __future__ import annotations

import csv as stdlib_csv
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from continual.errors import DataError
from continual.files import canonical, sha256
from continual.stream.base import Example, Stream, Task
from continual.stream.lint import check
from continual.stream.sample import few, split, subset
from continual.stream.stored import Stored, labels_of
from continual.task_streams import csv

TEXTS = ["plain", "naïve ☕", 'He said "no",\nthen left', "tab\tand, comma", " spaces ", "last", "two\r\nlines", "end"]
MB = 2**20


def written(path: Path, pairs: Iterable[tuple[str, str]], bom: str = "", end: str = "\n") -> str:
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(bom)
        if path.suffix == ".jsonl":
            file.writelines(json.dumps({"label": label, "text": text}) + end + end for text, label in pairs)
        else:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            table = stdlib_csv.writer(file, delimiter=delimiter, lineterminator=end)
            table.writerows([("label", "text"), *((label, text) for text, label in pairs)])
    return str(path)


def rows_of(path: str) -> Stored:
    """The training rows of a file, all of them."""
    [task] = csv.tasks({"a": dict.fromkeys(("train", "valid", "test"), path)})
    assert isinstance(task.train, Stored)
    return task.train


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_each_way_to_read_gives_the_rows_of_the_file(tmp_path: Path, name: str, bom: str, end: str) -> None:
    rows = rows_of(written(tmp_path / name, [(text, "xy"[i % 2]) for i, text in enumerate(TEXTS)], bom, end))
    wanted = [Example(text, i % 2) for i, text in enumerate(TEXTS)]
    assert list(rows) == list(rows) == [rows[i] for i in range(len(rows))] == wanted
    assert (rows[-1], list(rows[2:7:2]), list(rows[::-1])) == (wanted[-1], wanted[2:7:2], wanted[::-1])
    assert list(rows.take(np.array([5, 0, 2]))) == [wanted[5], wanted[0], wanted[2]]
    assert list(labels_of(rows)) == [i % 2 for i in range(len(TEXTS))]


def test_a_row_that_is_not_there_is_an_error_of_sequences(tmp_path: Path) -> None:
    rows = rows_of(written(tmp_path / "a.csv", [("one", "x"), ("two", "y")]))
    with pytest.raises(IndexError):
        rows[2]


@pytest.mark.parametrize("draw", [lambda rows: subset(rows, 9, 0, "a"), lambda rows: few(rows, 3, 0, "a")])
def test_what_is_drawn_from_stored_rows_is_what_is_drawn_from_held_ones(tmp_path: Path, draw: Callable) -> None:
    rows = rows_of(written(tmp_path / "a.csv", [(f"text {i}", "xyz"[i % 7 % 3]) for i in range(40)]))
    assert isinstance(draw(rows), Stored)
    assert list(draw(rows)) == draw(list(rows))
    for stored, held in zip(split(rows, 0.3, 0, "a"), split(list(rows), 0.3, 0, "a"), strict=True):
        assert isinstance(stored, Stored)
        assert list(stored) == held


def test_a_digest_is_the_one_of_rows_that_are_held_and_of_json_that_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [(f"text {i} ☕", "xyz"[i % 3]) for i in range(2500)])
    [stored] = csv.tasks([path])
    held = Task(stored.name, stored.labels, **{split: list(rows) for split, rows in stored.splits.items()})
    whole = [canonical([[row.text, row.label] for row in rows]) for rows in held.splits.values()]
    facts = canonical([held.name, list(held.labels), "classify", ""])
    assert stored.digest == held.digest == sha256(facts, *whole)
    assert Task("a", ("x",), [], [], []).digest == sha256(canonical(["a", ["x"], "classify", ""]), b"[]", b"[]", b"[]")


def test_a_file_that_was_written_to_after_it_was_checked_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", [("one", "x"), ("two", "y")])
    rows = rows_of(path)
    assert rows[0] == Example("one", 0)
    written(tmp_path / "a.csv", [("another", "x"), ("two", "y")])
    with pytest.raises(DataError, match=r"a\.csv: written to since its rows were checked; leave it as it is"):
        rows[1]
    with pytest.raises(DataError, match="written to since"):
        list(rows)
    os.unlink(path)
    with pytest.raises(DataError, match="no such file"):
        list(rows)


# Memory


def large(path: Path, count: int, length: int = 2000) -> str:
    """Rows of so many characters, of which no two are alike."""
    return written(path, ((f"{i} " + "abcd"[i % 4] * length, "abcd"[i % 4]) for i in range(count)))


def peak(path: str, **options: object) -> int:
    """The most bytes that were held at once while the stream was read, sampled, judged and hashed."""
    tracemalloc.start()
    try:
        stream = Stream("csv", tuple(csv.tasks([path], **options)))
        check(stream)
        assert stream.digest
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "options"), [("a.csv", {}), ("a.jsonl", {"train": 200})])
def test_no_list_of_all_texts_is_held(tmp_path: Path, name: str, options: dict) -> None:
    path = large(tmp_path / name, 5000)
    assert os.path.getsize(path) > 9 * MB
    assert peak(path, **options) < os.path.getsize(path) / 3


def test_the_bound_on_memory_would_notice_texts_that_are_held(tmp_path: Path) -> None:
    path = large(tmp_path / "a.csv", 2000)
    tracemalloc.start()
    try:
        held = list(rows_of(path))
        assert tracemalloc.get_traced_memory()[0] > os.path.getsize(path)
        assert len(held) == 2000
    finally:
        tracemalloc.stop()


GROWTH = """
import resource, sys
from continual.stream.base import Stream
from continual.stream.lint import check
from continual.task_streams import csv

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = most()
stream = Stream("csv", tuple(csv.tasks([sys.argv[1]])))
assert check(stream) == [] and stream.digest
print(most() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in other units elsewhere")
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_million_rows_take_a_hundred_bytes_each_however_long_their_texts_are(tmp_path: Path, name: str) -> None:
    path = large(tmp_path / name, 1_000_000, length=450)
    assert os.path.getsize(path) > 400 * MB
    ran = subprocess.run([sys.executable, "-c", GROWTH, path], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 128 * MB
