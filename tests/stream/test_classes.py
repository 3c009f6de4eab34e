"""One corpus dealt out into tasks of other classes each."""

from __future__ import annotations

from typing import Any

import pytest

from continual.errors import DataError
from continual.stream.base import Example, Rows, Stream, Task
from continual.stream.classes import cut, divided, grouped, union
from continual.stream.lint import check

LABELS = [f"class {i}" for i in range(12)]


def rows(split: str, count: int) -> Rows:
    return [Example(f"{split} {label} {i}", label) for i in range(count) for label in range(len(LABELS))]


SPLITS = {"train": rows("train", 3), "valid": rows("valid", 1), "test": rows("test", 2)}


def pairs(tasks: list[Task], split: str) -> list[tuple[Any, str]]:
    return [(row.text, task.labels[row.label]) for task in tasks for row in task.splits[split]]


@pytest.mark.parametrize("order", [None, 0, LABELS[::-1]])
@pytest.mark.parametrize("size", [2, 3, 4, 12])
def test_every_row_is_in_one_task_under_its_own_label(size: int, order: Any) -> None:
    tasks = grouped(LABELS, SPLITS, size, order)
    for split, whole in SPLITS.items():
        assert sorted(pairs(tasks, split)) == sorted((row.text, LABELS[row.label]) for row in whole)
    assert {len(task.labels) for task in tasks} == {size}
    assert check(Stream("s", tuple(tasks))) == []


def test_the_labels_of_all_tasks_one_after_the_other_are_the_corpus_in_its_class_order() -> None:
    assert union(grouped(LABELS, SPLITS, 3)) == tuple(LABELS)
    assert union(grouped(LABELS, SPLITS, 3, LABELS[::-1])) == tuple(LABELS[::-1])
    shuffled = [union(grouped(LABELS, SPLITS, 3, seed)) for seed in (0, 0, 1)]
    assert shuffled[0] == shuffled[1] != shuffled[2]


def test_classes_that_an_order_does_not_name_are_left_out_with_their_rows() -> None:
    [task] = grouped(LABELS, SPLITS, 2, ["class 7", "class 1"])
    assert task.labels == ("class 7", "class 1")
    assert [row.label for row in task.test] == [1, 0, 1, 0], "in the order of the corpus"


def test_names_are_numbered_so_that_they_sort_in_their_order() -> None:
    few, many = grouped(LABELS, SPLITS, 4, name="intents"), grouped(list("abcdefghijklmnopqrstuv"), {}, 2)
    assert [task.name for task in few] == ["intents-0", "intents-1", "intents-2"]
    assert [task.name for task in many] == [f"classes-{i:02d}" for i in range(11)]


@pytest.mark.parametrize("size", [0, 1, 5, 13])
def test_a_size_that_leaves_a_rest_is_refused_with_those_that_do_not(size: int) -> None:
    with pytest.raises(DataError, match=rf"tasks of {size} classes each of 12; choose a size from: 2, 3, 4, 6, 12$"):
        grouped(LABELS, SPLITS, size)


def test_groups_can_be_given_by_name_and_differ_in_size() -> None:
    tasks = divided(LABELS, SPLITS, {"few": ["class 2", "class 0"], "more": ["class 1", "class 3", "class 11"]})
    assert [(task.name, len(task.labels), len(task.train)) for task in tasks] == [("few", 2, 6), ("more", 3, 9)]
    assert [row.label for row in tasks[1].valid] == [0, 1, 2]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": ["class 1"], "b": ["class 2", "class 1"]}, r"class 'class 1' is in the tasks 'a' and 'b'"),
        ({"a": ["class 1", "class 1"]}, r"class 'class 1' is in the tasks 'a' and 'a'"),
        ({"a": ["class 12"]}, r"task 'a': class 'class 12' is none of the 12 of the corpus"),
    ],
)
def test_a_class_of_two_tasks_or_of_none_is_refused(groups: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        divided(LABELS, SPLITS, groups)


def test_an_unknown_class_in_an_order_is_refused() -> None:
    with pytest.raises(DataError, match="unknown class 'class 99'"):
        grouped(LABELS, SPLITS, 2, ["class 99", "class 1"])


def test_tasks_are_cut_to_sizes_and_a_split_without_rows_is_held_out_of_train() -> None:
    rows = [Example(f"text {i}", i % 4) for i in range(80)]
    dealt = grouped("abcd", {"train": rows, "test": rows[:40]}, size=2)
    found = cut(dealt, train=10, valid=None, test=6, seed=0, shots=None)
    assert [[len(rows) for rows in task.splits.values()] for task in found] == [[10, 4, 6], [10, 4, 6]]
    assert not {row.text for row in found[0].valid} & {row.text for row in found[0].train}
    assert [len(task.train) for task in cut(dealt, None, None, None, seed=0, shots=3)] == [6, 6]
