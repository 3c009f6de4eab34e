"""Entities against seqeval: its answers as they were written down, and itself where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.errors import DataError
from continual.score.base import value
from continual.score.entity_f1 import EntityF1, _tag, entities

GOLDEN = json.loads((Path(__file__).parent / "golden_entities.json").read_text())
LABELS, ROWS = GOLDEN["labels"], GOLDEN["rows"]
sentence = st.integers(1, 10).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, len(LABELS) - 1), min_size=n, max_size=n).map(tuple)] * 2)
)


def score(pairs) -> float:
    found, wanted = zip(*pairs, strict=True)
    return value(EntityF1(), EntityF1().rows(found, wanted, LABELS))


def read(*tags: str) -> set[tuple[str, int, int]]:
    return entities([_tag(tag) for tag in tags])


def test_entities_of_every_golden_sentence_are_seqevals():
    for row in ROWS:
        assert read(*(LABELS[tag] for tag in row["wanted"])) == {tuple(entity) for entity in row["entities"]}


def test_f1_of_each_golden_sentence_and_of_all_is_seqevals():
    pairs = [(row["found"], row["wanted"]) for row in ROWS]
    assert [score([pair]) for pair in pairs] == pytest.approx([row["f1"] for row in ROWS])
    assert score(pairs) == pytest.approx(GOLDEN["f1"])
    assert 0.2 < GOLDEN["f1"] < 0.9


def test_f1_is_that_of_an_installed_seqeval():
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed; the golden table stands for it")

    @settings(deadline=None)
    @given(st.lists(sentence, min_size=1, max_size=8))
    def agree(pairs):
        found, wanted = ([[LABELS[tag] for tag in tags] for tags in side] for side in zip(*pairs, strict=True))
        assert score(pairs) == pytest.approx(metrics.f1_score(wanted, found, zero_division=0))

    agree()


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O O", set()),
        ("B-PER I-PER", {("PER", 0, 1)}),
        ("B-PER B-PER", {("PER", 0, 0), ("PER", 1, 1)}),
        ("O I-PER I-PER O", {("PER", 1, 2)}),  # no B: an entity all the same
        ("B-PER I-LOC", {("PER", 0, 0), ("LOC", 1, 1)}),
        ("S-PER I-PER", {("PER", 0, 0), ("PER", 1, 1)}),
        ("B-PER I-PER E-PER E-PER", {("PER", 0, 2), ("PER", 3, 3)}),
    ],
)
def test_where_an_entity_begins_and_ends(tags, found):
    assert read(*tags.split()) == found


def test_half_an_entity_is_no_hit():
    labels = ["O", "B-PER", "I-PER"]
    assert EntityF1().rows([(1, 2, 0)], [(1, 2, 2)], labels).tolist() == [[0, 2]]


def test_nothing_found_where_nothing_is_wanted_is_zero():
    assert score([((0, 0), (0, 0))]) == 0


def test_a_label_that_is_no_tag_is_refused():
    for label in ("PER", "X-PER", "B-", "B", "", "O-PER"):
        with pytest.raises(DataError, match="expected tags"):
            EntityF1().rows([(0,)], [(0,)], ["O", label])


def test_sentences_of_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="row 1: expected a tag for each of 2 words, got 1"):
        EntityF1().rows([(0,), (0,)], [(0,), (0, 0)], LABELS)
