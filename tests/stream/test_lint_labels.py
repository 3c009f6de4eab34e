"""Labels within a task and between tasks, and what a scenario promises of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from continual.errors import ContinualError, DataError
from continual.stream.base import Example, Stream, Task
from continual.stream.lint import check


def task(name: str, labels: tuple[str, ...] = ("no", "yes"), **changes) -> Task:
    """Every label twice in every split."""
    splits = {
        split: [Example(f"{name} {split} {i}", i % len(labels)) for i in range(2 * len(labels))]
        for split in ("train", "valid", "test")
    }
    return replace(Task(name, labels, **splits), **changes)


def tags(name: str, *types: str) -> Task:
    labels = ("O", *(f"B-{kind}" for kind in types))
    splits = {
        split: [Example((name, split, str(i)), (0, 0, i)) for i in range(1, len(labels))]
        for split in ("train", "valid", "test")
    }
    return Task(name, labels, **splits, head="tag")


def lint(*tasks: Task, scenario="task") -> list[str]:
    return check(Stream("stream", tasks, scenario))


# Within a task


@pytest.mark.parametrize("split", ["valid", "test"])
def test_one_class_in_valid_or_test_is_a_warning(split: str) -> None:
    rows = [Example(f"only {i}", 1) for i in range(3)]
    assert lint(task("films", **{split: rows})) == [f"task 'films', {split}: all 3 rows are 'yes'; one answer fits all"]
    assert lint(task("films", **{split: rows[:1]})) == []


def test_a_label_that_no_split_has_is_a_warning_whatever_the_head() -> None:
    said = "task 'films': no split has a row of 'maybe'; drop what nothing is from the labels"
    assert lint(replace(task("films"), labels=("no", "yes", "maybe"))) == [said]
    splits = {s: [Example(f"{s} {i}", (i,)) for i in range(2)] for s in ("train", "valid", "test")}
    assert lint(Task("films", ("no", "yes", "maybe"), **splits, head="multilabel")) == [said]
    tagged = tags("films", "X", "Y")
    assert lint(replace(tagged, labels=(*tagged.labels, "B-Z"))) == [said.replace("maybe", "B-Z")]


def test_a_label_that_one_split_has_is_no_gap() -> None:
    labels = ("no", "yes", "maybe")
    rows = [*task("films").test, Example("hm", 2)]
    assert lint(replace(task("films"), labels=labels, test=rows)) == [
        "task 'films', test: train has no row of 'maybe', which cannot be learned"
    ]


@pytest.mark.parametrize("missing", [[], None])
def test_a_task_without_a_test_split_is_refused(missing) -> None:
    with pytest.raises(DataError, match=r"'films' \(classify\), test: expected rows, got none; give the split some"):
        lint(task("films", test=missing))


# Between tasks


@pytest.mark.parametrize(
    "others",
    [("no", "yes"), ("no", "yes", "maybe"), ("red", "blue")],
    ids=["equal", "nested", "disjoint"],
)
def test_equal_nested_and_disjoint_label_sets_are_usual(others: tuple[str, ...]) -> None:
    assert lint(task("one"), task("two", others)) == []


def test_equal_labels_in_another_order_are_a_warning() -> None:
    assert lint(task("one"), task("two", ("yes", "no")), task("three", ("yes", "no"))) == [
        "task 'one' has the labels 'no', 'yes', and 'two', 'three' the same in another order, as 'yes', 'no'; "
        "the same number is another label there: sort them"
    ]


def test_labels_that_are_shared_in_part_are_a_warning() -> None:
    assert lint(task("one", ("a", "b", "c")), task("two", ("b", "c", "d"))) == [
        "tasks 'one' and 'two' share the labels 'b', 'c', and each has others that the other lacks; "
        "rename them where they do not mean the same"
    ]


def test_labels_of_different_heads_have_nothing_to_do_with_each_other() -> None:
    splits = {s: [Example(f"{s} {i}", (i,)) for i in range(2)] for s in ("train", "valid", "test")}
    assert lint(task("one", ("a", "b")), Task("two", ("b", "c"), **splits, head="multilabel")) == []


def test_o_is_no_label_that_tags_share() -> None:
    assert lint(tags("one", "X"), tags("two", "Y")) == []
    assert lint(tags("one", "X"), tags("two", "Y"), scenario="class") == []
    assert len(lint(tags("one", "X", "Z"), tags("two", "Y", "Z"))) == 1


def test_pairs_of_tasks_that_share_labels_are_bounded_in_number() -> None:
    tasks = [task(f"t{i}", (*"abcdefgh"[: i + 1], f"own {i}")) for i in range(8)]
    lines = lint(*tasks)
    assert len(lines) == 6
    assert lines[0].startswith("tasks 't6' and 't7' share the labels 'a', 'b', 'c', 'd', 'e' and 2 more")
    assert lines[-1] == "23 more pairs of tasks share some of their labels, at most 5"


# Scenarios


def test_an_unknown_scenario_lists_the_choices() -> None:
    with pytest.raises(ContinualError, match="unknown scenario 'tasks'; choose from: class, domain, shared, task"):
        lint(task("one"), scenario="tasks")


def test_a_class_that_two_tasks_have_is_refused_in_a_class_incremental_stream_only() -> None:
    tasks = [task("one", ("a", "b")), task("two", ("c", "d")), task("three", ("a", "d"))]
    with pytest.raises(
        DataError, match="expected each class in one task only, got 'a' in 'one', 'three'; 'd' in 'two'"
    ):
        lint(*tasks, scenario="class")
    assert lint(*tasks[:2], scenario="class") == []
    assert len(lint(*tasks)) == 2


def test_a_domain_incremental_stream_has_the_same_labels_in_every_task() -> None:
    assert lint(task("one"), task("two"), scenario="domain") == []
    assert len(lint(task("one"), task("two", ("yes", "no")), scenario="domain")) == 1
    with pytest.raises(DataError, match=r"'no', 'yes' in 'one' and 'no', 'so', 'yes' in 'two'; only one has 'so'"):
        lint(task("one"), task("two", ("no", "so", "yes")), scenario="domain")
    with pytest.raises(DataError, match=r"only one has 'so'"):
        lint(task("one", ("no", "so", "yes")), task("two"), scenario="domain")


def test_the_digest_of_a_stream_knows_its_scenario_and_is_as_it_was_without_one() -> None:
    tasks = (task("one"), task("two"))
    digests = {scenario: Stream("s", tasks, scenario).digest for scenario in ("task", "domain", "class")}
    assert len(set(digests.values())) == 3
    assert digests["task"] == Stream("s", tasks).digest
