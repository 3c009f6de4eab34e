from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continual.errors import DataError
from continual.stream.base import Example
from continual.stream.sample import draws, few, sized, split, subset

PINNED = [3374516093794849487, 17307385788933421861, 17529925320290619075]
rows_of = st.lists(st.integers(0, 6), min_size=1, max_size=120).map(
    lambda labels: [Example(f"text {i}", label) for i, label in enumerate(labels)]
)


@given(rows_of, st.integers(0, 130), st.integers(0, 5))
def test_a_subset_has_the_rows_asked_for_in_order_and_keeps_every_class_that_fits(rows, n, seed):
    got = subset(rows, n, seed, "task")
    assert len(got) == min(n, len(rows))
    kept = set(got)
    assert got == [row for row in rows if row in kept], "old order, nothing twice"
    counts, classes = Counter(row.label for row in got), {row.label for row in rows}
    if n >= len(classes):
        assert counts.keys() == classes


@given(rows_of, st.floats(0, 0.9), st.integers(0, 5))
def test_a_split_loses_nothing_and_leaves_train_every_class(rows, fraction, seed):
    classes = {row.label for row in rows}
    n = round(fraction * len(rows))
    if n > len(rows) - len(classes):
        with pytest.raises(DataError, match="train needs one row of each"):
            split(rows, fraction, seed, "task")
        return
    train, valid = split(rows, fraction, seed, "task")
    assert len(valid) == n
    assert sorted(train + valid) == sorted(rows)
    assert {row.label for row in train} == classes


@given(st.integers(20, 60), st.integers(20, 60), st.integers(10, 40))
def test_classes_are_drawn_in_proportion_to_within_a_row(a, b, n):
    rows = [Example(f"{i}", int(i < a)) for i in range(a + b)]
    counts = Counter(row.label for row in subset(rows, n, 0, "task"))
    assert abs(counts[1] - n * a / (a + b)) <= 1


def test_none_and_too_many_mean_all_rows_and_a_negative_number_is_refused():
    rows = [Example("a", 0), Example("b", 1)]
    assert subset(rows, None, 0, "task") == subset(rows, 9, 0, "task") == rows
    with pytest.raises(DataError, match="got -1"):
        subset(rows, -1, 0, "task")


def test_seed_and_name_and_purpose_give_other_rows():
    rows = [Example(f"text {i}", i % 2) for i in range(200)]
    picks = [subset(rows, 20, 0, "a"), subset(rows, 20, 1, "a"), subset(rows, 20, 0, "b"), split(rows, 20, 0, "a")[1]]
    assert len({tuple(pick) for pick in picks}) == 4


def test_draws_are_the_same_in_every_process_and_version():
    assert draws(3, "subset", 0, "toy").tolist() == PINNED
    code = "from continual.stream.sample import draws; print(draws(3, 'subset', 0, 'toy').tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(PINNED)


def test_the_whole_of_a_large_corpus_is_sampled_quickly_and_evenly():
    rows = [Example(str(i), i % 50) for i in range(20_000)]
    got = [int(row.text) for row in subset(rows, 1000, 0, "task")]
    assert np.histogram(got, bins=4, range=(0, 20_000))[0].min() > 200


@given(rows_of, st.integers(1, 30), st.integers(0, 5))
def test_few_shots_are_so_many_rows_of_each_class_in_their_old_order(rows, shots, seed):
    got = few(rows, shots, seed, "task")
    kept = set(got)
    assert got == [row for row in rows if row in kept], "old order, nothing twice"
    whole, counts = Counter(row.label for row in rows), Counter(row.label for row in got)
    assert counts == {label: min(count, shots) for label, count in whole.items()}
    assert kept <= set(few(rows, shots + 1, seed, "task")), "fewer shots are of more"


def test_few_shots_depend_on_seed_and_name_and_need_classes():
    rows = [Example(f"text {i}", i % 3) for i in range(300)]
    picks = [few(rows, 5, 0, "a"), few(rows, 5, 1, "a"), few(rows, 5, 0, "b"), few(rows, 5, 0, "a")]
    assert picks[0] == picks[3]
    assert len({tuple(pick) for pick in picks}) == 3
    assert few(rows, None, 0, "a") == rows
    with pytest.raises(DataError, match="shots=0"):
        few(rows, 0, 0, "a")
    with pytest.raises(DataError, match="rows of one class each"):
        few([Example("a", 0.5)], 1, 0, "a")


def test_splits_are_cut_to_the_sizes_asked_for_and_held_out_where_they_are_not_there():
    rows = {name: [Example(f"{name} {i}", i % 2) for i in range(100)] for name in ("train", "valid", "test")}

    def sizes(rows, train, valid, test, shots=None):
        return [len(found) for found in sized(rows, train, valid, test, 0, "a", shots).values()]

    assert sizes(rows, None, None, None) == [100, 100, 100]
    assert sizes(rows, 10, 20, 30) == [10, 20, 30]
    assert sizes(rows, None, 20, 30, shots=3) == [6, 20, 30]
    assert sizes({"train": rows["train"], "test": rows["test"]}, None, None, None) == [90, 10, 100]
    assert sizes({"train": rows["train"]}, None, 5, None) == [75, 5, 20]
    whole, cut = (sized({"train": rows["train"]}, n, None, None, 0, "a") for n in (None, 7))
    assert (whole["valid"], whole["test"]) == (cut["valid"], cut["test"]), "train's size changes nothing else"
    assert not set(whole["train"]) & {*whole["valid"], *whole["test"]}
    with pytest.raises(DataError, match="train=5 rows in all, or shots=5 of each class, not both"):
        sized(rows, 5, None, None, 0, "a", shots=5)
