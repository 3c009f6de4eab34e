"""Texts that two splits or two tasks share."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from continual.errors import DataError
from continual.stream import leaks
from continual.stream.base import Example, Image, Stream, Task
from continual.stream.lint import check

SIZES = {"train": 20, "valid": 10, "test": 10}


def rows(numbers: Iterable[int], salt: str = "") -> list[Example]:
    return [Example(f"text {salt} {number}", number % 2) for number in numbers]


def task(name: str = "films", **splits: list[Example]) -> Task:
    """A clean one, but for what is given."""
    clean = {split: rows(range(count), f"{name} {split}") for split, count in SIZES.items()}
    return Task(name, ("no", "yes"), **{**clean, **splits})


def lint(*tasks: Task) -> list[str]:
    return check(Stream("stream", tasks))


def test_splits_that_share_nothing_raise_nothing() -> None:
    assert lint(task(), task("books")) == []


@pytest.mark.parametrize(("count", "said"), [(10, "all 10"), (6, "6 of 10")])
def test_a_test_of_which_more_than_half_is_in_valid_is_refused(count: int, said: str) -> None:
    valid = [*rows(range(count), "shared"), *rows(range(count, 14), "own")]
    test = [*rows(range(count), "shared"), *rows(range(count, 10), "other")]
    with pytest.raises(DataError, match=rf"'films': {said} test texts are also in valid: dev = test.*hold valid out"):
        lint(task(valid=valid, test=test))


def test_a_valid_that_is_a_part_of_a_larger_test_is_refused() -> None:
    test = rows(range(100))
    with pytest.raises(DataError, match="all 10 valid texts are also in test: dev = test"):
        lint(task(valid=test[:10], test=test))


def test_half_of_a_split_is_still_a_warning() -> None:
    shared = rows(range(5), "shared")
    lines = lint(task(valid=[*shared, *rows(range(5))], test=[*shared, *rows(range(5), "own")]))
    assert lines == ["task 'films': 5 of 10 test texts are also in valid; what is selected on valid has seen them"]


def test_a_test_of_which_more_than_half_was_trained_on_is_refused_and_half_is_a_warning() -> None:
    train = rows(range(20))
    assert lint(task(train=train, test=[*train[:5], *rows(range(5), "own")])) == [
        "task 'films': 5 of 10 test texts are also in train; its score is too high"
    ]
    with pytest.raises(DataError, match="6 of 10 test texts are also in train: most answers can be known by heart"):
        lint(task(train=train, test=[*train[:6], *rows(range(4), "own")]))


def test_a_valid_that_was_trained_on_is_a_warning_however_much_of_it() -> None:
    train = rows(range(20))
    said = "valid texts are also in train; what is selected on valid is too sure of them"
    assert lint(task(train=train, valid=[*train[:1], *rows(range(9), "own")])) == [f"task 'films': 1 of 10 {said}"]
    assert lint(task(train=train, valid=train[:10])) == [f"task 'films': 10 of 10 {said}"]


def test_texts_are_the_same_whatever_their_case_spacing_and_label() -> None:
    valid = [*rows(range(9)), Example("TEXT  own\n0", 1)]
    [line] = lint(task(valid=valid, test=rows(range(10), "own")))
    assert line.startswith("task 'films': 1 of 10 test texts are also in valid")


def test_pairs_and_images_are_compared_too() -> None:
    pair, picture = Example(("a", "b c"), 0), Example(Image(1, 1, b"abc"), 1)
    for row, other in ((pair, Example(("a b", "c"), 0)), (picture, Example(Image(1, 1, b"abd"), 1))):
        clean = task(train=[*rows(range(9)), row], test=[*rows(range(9), "own"), other])
        assert lint(clean) == []
        assert len(lint(task(train=[*rows(range(9)), row], test=[*rows(range(9), "own"), row]))) == 1


# Between tasks


def test_a_test_text_that_another_task_trains_on_is_a_warning_that_says_whom_it_harms() -> None:
    one = task("one")
    two = task("two", test=[*one.train[:3], *rows(range(7), "own")])
    assert lint(one, two) == lint(one, two)
    assert lint(one, two) == [
        "task 'two': 3 of 10 test texts are in train of task 'one'; isolated modules do not see them, but one that "
        "both tasks share does, and its score is too high"
    ]


def test_what_tasks_train_on_or_are_tested_on_alike_harms_nobody() -> None:
    one = task("one")
    assert lint(one, task("two", train=one.train), task("three", test=one.test)) == []


def test_the_pairs_with_most_come_first_and_the_others_are_counted() -> None:
    base = task("base", train=rows(range(20)))
    others = [
        task(f"other-{n}", test=[*base.train[:n], *rows(range(10 - n), f"{n} own")]) for n in (2, 9, 1, 4, 7, 3, 5)
    ]
    lines = lint(base, *others)
    assert [line.split("'")[1] for line in lines[:-1]] == ["other-9", "other-7", "other-5", "other-4", "other-3"]
    assert lines[-1] == (
        "2 more pairs of tasks share texts between the train of one and the test of the other: "
        "3 in all, at most 2 a pair"
    )


def test_shared_texts_are_counted_as_by_hand() -> None:
    """Against the definition, pair by pair and row by row, with repeated rows."""
    tasks = [
        task(
            f"t{i}",
            train=rows([n * (i + 2) % 23 for n in range(20)]),
            test=[*rows([(5 * n + i) % 31 for n in range(10)])],
        )
        for i in range(6)
    ]
    by_hand = {
        (i, j): sum(row.text in {other.text for other in a.train} for row in b.test)
        for i, a in enumerate(tasks)
        for j, b in enumerate(tasks)
        if i != j
    }
    found = dict(leaks._pairs([{split: leaks.hashed(of) for split, of in each.splits.items()} for each in tasks]))
    assert found == {pair: shared for pair, shared in by_hand.items() if shared}
    assert len(set(found.values())) > 2


# Speed


def test_each_text_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, content = [], leaks.content
    monkeypatch.setattr(leaks, "content", lambda text: read.append(text) or content(text))
    lint(task("one"), task("two"), task("three"))
    texts = [text for text in read if text]
    assert len(texts) == len(set(texts)) == 3 * 40


def test_a_stream_is_judged_once_however_often_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    train = rows(range(20))
    stream = Stream("stream", (task(train=train, test=[*train[:5], *rows(range(5), "own")]),))
    first = check(stream)
    monkeypatch.setattr(leaks, "hashed", None)
    assert check(stream) == first
    assert len(first) == 1
    first.clear()
    assert len(check(stream)) == 1


def test_a_hundred_tasks_with_a_hundred_thousand_rows_take_seconds_even_where_all_share_their_texts() -> None:
    shared = [Example(f"a text of some ten words that all tasks train on {i}", i % 2) for i in range(700)]
    tasks = [
        task(f"t{i}", train=[*shared, *rows(range(200), f"{i}")], test=[*shared[:45], *rows(range(55), f"{i} own")])
        for i in range(100)
    ]
    start = time.process_time()
    lines = lint(*tasks)
    assert time.process_time() - start < 10  # about 1 s; the bound is for slow machines
    assert len([line for line in lines if "train of task" in line]) == 5
    assert lines[-1].startswith("9895 more pairs")
