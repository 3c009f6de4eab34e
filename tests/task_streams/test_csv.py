"""Tables of every kind of row that a table can hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from continual.errors import ContinualError, DataError
from continual.stream.base import Example, Stream, Task
from continual.stream.lint import check
from continual.task_streams import csv

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write("a.csv", "text,label", "hi,x", …)`` or, of dicts, a JSONL file."""

    def write(name: str, *rows: str | dict) -> str:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(tmp_path / name)

    return write


def all_rows(task: Task) -> list[Example]:
    return [row for rows in task.splits.values() for row in rows]


def read(path: str, **options) -> tuple[Task, list[Example]]:
    """The one task of a file, and its rows in the order of the file, by the text."""
    [task] = csv.tasks([path], valid=1, test=1, **options)
    assert check(Stream("csv", (task,))) == []
    return task, sorted(all_rows(task), key=lambda row: row.text)


def test_two_text_columns_are_a_pair(write: Write) -> None:
    path = write("a.csv", "one,two,label", *(f"a{i},b{i},{'xy'[i % 2]}" for i in range(6)))
    task, rows = read(path, text=["one", "two"])
    assert task.labels == ("x", "y")
    assert rows[:2] == [Example(("a0", "b0"), 0), Example(("a1", "b1"), 1)]


@pytest.mark.parametrize(
    "cells",
    [
        ["x;y", "y ; x", "", "z", "x;x"],
        [["x", "y"], ["y", "x"], [], ["z"], ["x"]],
        [["x", "y"], ["x", "y"], None, "z", "x"],
    ],
)
def test_several_labels_are_a_sorted_tuple_however_they_are_written(write: Write, cells: list) -> None:
    path = write("a.jsonl", *({"text": f"t{i}", "label": cell} for i, cell in enumerate(cells)))
    [task] = csv.tasks({"a": {"train": path, "valid": path, "test": path}}, head="multilabel")
    assert (task.labels, task.head) == (("x", "y", "z"), "multilabel")
    assert [row.label for row in task.train] == [(0, 1), (0, 1), (), (2,), (0,)]


def test_the_separator_of_labels_can_be_chosen(write: Write) -> None:
    path = write("a.csv", "text,label", *(f"t{i},x|y;z" for i in range(4)))
    task, _ = read(path, head="multilabel", separator="|")
    assert task.labels == ("x", "y;z")
    with pytest.raises(DataError, match="separator is empty"):
        read(path, head="multilabel", separator="")


def test_numbers_are_read_as_they_are(write: Write) -> None:
    path = write("a.csv", "text,label", "t0,0.5", "t1, 4 ", "t2,-1e-3")
    task, rows = read(path, head="regress", score="spearman")
    assert ([row.label for row in rows], task.labels, task.score) == ([0.5, 4.0, -0.001], (), "spearman")


def test_the_right_option_is_named_by_its_text_or_its_position(write: Write) -> None:
    path = write("a.csv", "q,a,b,c,label", "q0,red,blue,,blue", "q1,red,blue,green,0", "q2,5,0,7,0", "q3,a,b,,1")
    _, rows = read(path, head="choice", text=["q", "a", "b", "c"])
    assert [row.text for row in rows] == [
        ("q0", "red", "blue"),
        ("q1", "red", "blue", "green"),
        ("q2", "5", "0", "7"),
        ("q3", "a", "b"),
    ]
    assert [row.label for row in rows] == [1, 0, 1, 1]  # in the third the text "0" goes before the position
    path = write("b.jsonl", *({"q": f"q{i}", "a": "5", "b": "0", "label": i % 2} for i in range(4)))
    _, rows = read(path, head="choice", text=["q", "a", "b"])
    assert [row.label for row in rows] == [0, 1, 0, 1]  # a number of JSON is a position


def test_search_has_no_labels(write: Write) -> None:
    path = write("a.csv", "query,passage", *(f"q{i},p{i}" for i in range(5)))
    task, rows = read(path, head="retrieve", text=["query", "passage"])
    assert (rows[0], task.labels) == (Example(("q0", "p0"), None), ())


@pytest.mark.parametrize(
    ("options", "rows", "message"),
    [
        ({"head": "regress"}, ["t,1", "u,high"], r"line 3: expected a number in 'label', got 'high'; mend or drop"),
        ({"head": "regress"}, ["t,nan"], r"line 2: expected a number .* got 'nan'"),
        (
            {"head": "choice", "text": ["text", "a", "b"]},
            ["t,0,x,y", "t,z,x,y"],
            r"a\.csv, line 3: expected in 'label' the text of one of 2 options or a position from 0 to 1, got 'z'",
        ),
        ({"head": "choice", "text": ["text", "a", "b"]}, ["t,2,x,y"], r"line 2: .* got '2'"),
        ({"head": "choice", "text": ["text", "a", "b"]}, ["t,0,x"], r"line 2: expected a text in 'b', got None"),
        ({"head": "choice"}, ["t,0"], r"head=choice reads 3 or more text columns, got text=\['text'\]"),
        ({"head": "retrieve"}, ["t,0"], r"head=retrieve reads 2 text columns"),
        ({"text": ["text", "a", "b"]}, ["t,0,x,y"], r"head=classify reads 1 or 2 text columns"),
        ({"head": "tag"}, ["t,0"], r"rows of 'tag' are not in tables; use stream=conll"),
        ({"head": "span"}, ["t,0"], r"use stream=squad"),
        ({"head": "sort"}, ["t,0"], r"unknown head .*'sort'; choose from: choice, classify"),
    ],
)
def test_a_row_that_its_head_cannot_read_is_named(write: Write, options: dict, rows: list[str], message: str) -> None:
    path = write("a.csv", "text,label,a,b", *rows)
    with pytest.raises(ContinualError, match=message):
        csv.tasks([path], **options)


def test_labels_that_train_lacks_are_listed_with_the_first_line(write: Write) -> None:
    files = {"train": write("a.csv", "text,label", "t,x;y"), "test": write("b.csv", "text,label", "t,x", "u,z;w")}
    with pytest.raises(DataError, match=r"b\.csv: labels .*: 'w', 'z'; train has 'x', 'y'; .*b\.csv, line 3$"):
        csv.tasks({"mine": files}, head="multilabel")


def test_an_unknown_extension_is_said_even_of_a_file_that_is_not_there() -> None:
    with pytest.raises(ContinualError, match=r"nowhere\.pdf: unknown extension '\.pdf'; choose from: \.csv, \.jsonl"):
        csv.tasks(["nowhere.pdf"])
