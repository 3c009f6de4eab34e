"""Answers in words against the definitions of the SQuAD evaluation scripts, written again."""

from __future__ import annotations

import re
from string import punctuation

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.score.answer_f1 import AnswerF1
from continual.score.base import value
from continual.score.exact_match import ExactMatch

words = st.lists(st.sampled_from(["The", "a", "an", "cat", "Cat's", "cats", "big", "—", "...", "U.S.", "1,000"]))
text = words.map(" ".join) | st.text(max_size=12)
rows = st.lists(st.tuples(text, st.lists(text, max_size=3).map(tuple)), min_size=1, max_size=6)


def bag(answer: str) -> list[str]:
    """Lower case; then punctuation goes, without a space for it; then articles; then what spaces divide."""
    kept = "".join(character for character in answer.lower() if character not in punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def shared(ours: list[str], gold: list[str]) -> int:
    rest, same = list(gold), 0
    for word in ours:
        if word in rest:
            rest.remove(word)
            same += 1
    return same


def exact(answer: str, gold: str) -> float:
    return float(" ".join(bag(answer)) == " ".join(bag(gold)))


def f1(answer: str, gold: str) -> float:
    ours, theirs = bag(answer), bag(gold)
    if not ours or not theirs:
        return float(ours == theirs)
    same = shared(ours, theirs)
    if same == 0:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


def official(measure, answer: str, golds: tuple[str, ...]) -> float:
    return max(measure(answer, gold) for gold in [gold for gold in golds if bag(gold)] or [""])


@settings(deadline=None)
@given(rows)
def test_exact_match_is_that_of_the_script(rows):
    found, wanted = zip(*rows, strict=True)
    oracle = [official(exact, *row) for row in rows]
    assert ExactMatch().rows(found, wanted, [])[:, 0].tolist() == oracle
    assert value(ExactMatch(), ExactMatch().rows(found, wanted, [])) == pytest.approx(sum(oracle) / len(rows))


@settings(deadline=None)
@given(rows)
def test_f1_is_that_of_the_script(rows):
    found, wanted = zip(*rows, strict=True)
    oracle = [official(f1, *row) for row in rows]
    assert AnswerF1().rows(found, wanted, [])[:, 0].tolist() == pytest.approx(oracle)
    assert value(AnswerF1(), AnswerF1().rows(found, wanted, [])) == pytest.approx(sum(oracle) / len(rows))


@pytest.mark.parametrize(
    ("found", "wanted", "match", "overlap"),
    [
        ("the Eiffel Tower!", ("Eiffel tower",), 1, 1),
        ("tower", ("Eiffel tower", "the tower"), 1, 1),
        ("Eiffel", ("Eiffel tower",), 0, 2 / 3),
        ("a-b", ("ab",), 1, 1),  # punctuation goes without a space
        ("", (), 1, 1),
        ("the", (), 1, 1),  # nothing is left of it
        ("Paris", (), 0, 0),
        ("", ("Paris",), 0, 0),
        ("", ("the",), 1, 1),  # a gold of nothing is no gold: version 2, not 1.1
        ("big big dog", ("big dog",), 0, 0.8),
    ],
)
def test_cases_by_hand(found, wanted, match, overlap):
    assert ExactMatch().rows([found], [wanted], [])[0, 0] == match
    assert AnswerF1().rows([found], [wanted], [])[0, 0] == pytest.approx(overlap)
