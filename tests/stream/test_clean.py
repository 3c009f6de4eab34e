"""What cleaning takes away, and that nothing else goes."""

from __future__ import annotations

import pytest

from continual.stream.base import Example
from continual.stream.clean import clean, cleaned, indexed
from continual.stream.lint import content


def test_texts_that_differ_in_case_and_spacing_are_one_and_the_first_stays() -> None:
    assert clean([("x", "A  film"), ("x", "a film\n"), ("y", "other")]) == [("x", "A  film"), ("y", "other")]


def test_a_text_with_two_labels_goes_altogether() -> None:
    assert clean([("x", "a"), ("y", "A"), ("x", "a"), ("x", "b")]) == [("x", "b")]


def test_empty_texts_and_pairs_with_an_empty_half_go() -> None:
    assert clean([("x", " \t"), ("x", ("a", "")), ("x", ("a", "b")), ("x", ("ab", ""))]) == [("x", ("a", "b"))]


def test_known_texts_go() -> None:
    assert clean([("x", "a"), ("x", "b")], {content("A")}) == [("x", "b")]


def test_no_split_keeps_a_text_that_a_later_one_has() -> None:
    splits = {
        "test": [("x", "t"), ("x", "t")],
        "train": [("x", "a"), ("x", "v"), ("x", "T"), ("x", "c")],  # c has two labels in valid
        "valid": [("x", "v"), ("y", "t"), ("x", "c"), ("y", "c")],
    }
    assert cleaned(splits) == {"test": [("x", "t")], "train": [("x", "a")], "valid": [("x", "v")]}
    assert list(cleaned(splits)) == ["test", "train", "valid"]


def test_labels_become_positions_and_an_unknown_one_is_a_bug() -> None:
    assert indexed({"train": [("y", "a"), ("x", "b")]}, "xy") == {"train": [Example("a", 1), Example("b", 0)]}
    with pytest.raises(KeyError):
        indexed({"train": [("z", "a")]}, "xy")
