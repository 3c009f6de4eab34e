from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from continual.errors import DataError
from continual.stream.base import Example, Stream, Task
from continual.stream.lint import check

TRAIN = [Example("good", 1), Example("bad", 0)]
VALID = [Example("fine", 1), Example("poor", 0)]
TEST = [Example("great", 1), Example("awful", 0)]


def task(name="films", labels=("no", "yes"), train=TRAIN, valid=VALID, test=TEST) -> Task:
    return Task(name, labels, train, valid, test)


def lint(*tasks: Task) -> list[str]:
    return check(Stream("stream", tasks))


def test_a_clean_stream_has_no_warnings():
    assert lint(task(), task("books")) == []


def test_a_stream_needs_tasks():
    with pytest.raises(DataError, match="no tasks"):
        lint()


def test_two_tasks_of_one_name_are_refused():
    with pytest.raises(DataError, match="2 tasks are named 'films'"):
        lint(task(), task())


@pytest.mark.parametrize("name", ["", "Films", "-films", "a/b", "..", "a" * 65, "films\n"])
def test_a_name_that_cannot_name_files_is_refused(name):
    with pytest.raises(DataError, match="cannot name files"):
        lint(task(name))


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_an_empty_split_is_named(part):
    with pytest.raises(DataError, match=rf"'films' \(classify\), {part}: expected rows, got none"):
        lint(task(**{part: []}))


@pytest.mark.parametrize("label", [2, -1, "yes", 1.0, True, None])
def test_a_label_outside_the_map_is_named_with_its_row(label):
    wanted = (
        rf"'films' .*, test, row 2: expected a label from 0 to 1, got {re.escape(repr(label))}; mend .*\['no', 'yes'\]"
    )
    with pytest.raises(DataError, match=wanted):
        lint(task(test=[*TEST, Example("odd", label)]))


def test_at_most_five_bad_labels_are_listed():
    with pytest.raises(DataError, match=r"row 6: .*got 9; and 2 more rows; mend or drop") as caught:
        lint(task(train=[*TRAIN, *[Example(str(i), 9) for i in range(7)]]))
    assert str(caught.value).count("got 9") == 5


def test_one_class_is_no_task():
    with pytest.raises(DataError, match="at least two labels"):
        lint(task(labels=("yes",)))
    with pytest.raises(DataError, match="expected rows of two labels or more, got 1 row, all 'yes'; take more rows"):
        lint(task(train=TRAIN[:1]))


def test_a_repeated_label_name_is_refused():
    with pytest.raises(DataError, match="'no' is in the label map 2 times"):
        lint(task(labels=("no", "no")))


@pytest.mark.parametrize("text", [None, 3, b"bytes", float("nan")])
def test_a_text_that_is_no_string_is_named_with_its_row(text):
    with pytest.raises(DataError, match=r"'films' .*, valid, row 1: expected a text.*mend or drop"):
        lint(task(valid=[VALID[0], Example(text, 0)]))


def test_empty_train_texts_are_a_warning():
    assert lint(task(train=[*TRAIN, Example(" \n", 0)])) == ["task 'films', train: 1 empty text, the first in row 2"]


def test_test_texts_in_train_are_counted_whatever_their_case_and_spacing():
    (warning,) = lint(task(test=[*TEST, Example(" GOOD ", 1), Example("bad", 0)]))
    assert "2 of 4 test texts are also in train" in warning


def test_a_class_that_train_lacks_is_a_warning():
    (warning,) = lint(task(labels=("no", "yes", "maybe"), test=[*TEST, Example("hm", 2)]))
    assert warning == "task 'films', test: train has no row of 'maybe', which cannot be learned"


def test_a_hundred_thousand_rows_take_about_a_second():
    train = [Example(f"a text of some ten words that is number {i}", i % 2) for i in range(100_000)]
    start = time.process_time()
    assert lint(task(train=train)) == []
    assert time.process_time() - start < 5  # about 0.3 s; the bound is for slow machines


def test_half_a_character_is_refused_with_its_row() -> None:
    rows = [Example("fine", 0), Example("torn \ud83d", 1)]
    with pytest.raises(DataError, match=r"row 1: expected whole characters, got 'torn .*half of one"):
        check(Stream("s", (Task("t", ("a", "b"), rows, rows, rows),)))


def test_a_score_that_cannot_judge_a_heads_answers_is_refused_with_those_that_can() -> None:
    rows = [Example("a", 0), Example("b", 1)]
    task = Task("t", ("x", "y"), rows, rows, rows, score="pearson")
    with pytest.raises(
        DataError, match="score 'pearson' does not judge classify answers; choose from: accuracy, macro_f1"
    ):
        check(Stream("s", (task,)))


@pytest.mark.parametrize("score", ["", "entity_f1"])
def test_tags_that_are_no_names_need_a_score_that_takes_them(score: str) -> None:
    splits = [[Example((word, "dog"), (0, 1)), Example((word, "big"), (0, 2))] for word in ("a", "the", "one")]
    task = Task("speech", ("X", "NOUN", "ADJ"), *splits, head="tag", score=score)
    with pytest.raises(DataError, match=r"'speech': expected tags: O, or B-.*got 'X'.*score=token_accuracy"):
        check(Stream("s", (task,)))
    for fits in ("token_accuracy", "accuracy"):
        check(Stream("s", (replace(task, score=fits),)))
