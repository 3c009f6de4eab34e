"""Tagged corpora as tasks: what is left of train, whose sentence is whose, and what names of other types become."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from continual.errors import DataError
from continual.stream.entities import by_type, dealt, marks, renamed, sentences, tagging, tags, unseen
from continual.stream.tagged import Sentence

KINDS = ["X", "Y", "Z"]


def corpus(n: int, seed: int = 0, part: str = "w") -> list[Sentence]:
    """``n`` different sentences of four words with names of any of three types, or none."""
    rng = random.Random(seed)
    found = []
    for i in range(n):
        marked = [rng.choice(["O", "O", "B-X", "B-X", "B-Y", "B-Z"]) for _ in range(4)]
        found.append(Sentence("", (f"{part}{i}", "a", "b", "c"), tuple(marked)))
    return found


def greedy(found: list[Sentence], groups: list[list[str]]) -> tuple[list[list[int]], int]:
    """An independent reading of IL-LLM's loop: the places of sentences that a type decides; how many were left."""
    frequency = Counter(tag.split("-")[1] for s in found for tag in s.tags if tag != "O")
    room = [int(len(found) * len(group) / sum(map(len, groups))) for group in groups]
    decided: list[list[int]] = [[] for _ in groups]
    left = 0
    for place, s in enumerate(found):
        for kind in sorted(frequency, key=lambda kind: (frequency[kind], kind)):
            [task] = [t for t, group in enumerate(groups) if kind in group]
            if f"B-{kind}" in s.tags and room[task] - len(decided[task]) > 0:
                decided[task].append(place)
                break
        else:
            left += 1
    return decided, left


def test_a_sentence_with_a_name_goes_to_the_slice_of_its_rarest_type_as_the_published_loop_has_it() -> None:
    """Sentences without a name come last, so that the published loop's random choices decide nothing else."""
    found = sorted(corpus(120), key=lambda s: set(s.tags) == {"O"})
    groups = [["X"], ["Y", "Z"]]
    decided, left = greedy(found, groups)
    slices = dealt(found, groups, seed=0)
    place = {s.words: i for i, s in enumerate(found)}
    for own, wanted in zip(slices, decided, strict=True):
        assert {place[s.words] for s in own} >= set(wanted)
    assert sum(map(len, slices)) <= sum(map(len, decided)) + left


def test_no_sentence_is_in_two_slices_and_names_of_other_types_are_o() -> None:
    found, groups = corpus(100), [["X"], ["Y"], ["Z"]]
    slices = dealt(found, groups, seed=0)
    assert [len(own) for own in slices] == [33, 33, 33]
    words = [s.words for own in slices for s in own]
    assert len(set(words)) == len(words)
    whole = {s.words: s.tags for s in found}
    for own, [kind] in zip(slices, groups, strict=True):
        for s in own:
            assert s.tags == tuple(tag if tag == f"B-{kind}" else "O" for tag in whole[s.words])


def test_all_sentences_of_test_are_in_each_task_with_its_own_names() -> None:
    splits = {"train": corpus(30), "test": corpus(20, 1, "t")}
    for own, kind in zip(by_type(splits, [["X"], ["Y"]], 0), "XY", strict=True):
        assert [s.words for s in own["test"]] == [s.words for s in splits["test"]]
        assert set(tags({"test": own["test"]})) == {"O", f"B-{kind}"}


def test_a_task_has_the_same_slice_in_every_order_and_another_with_another_seed() -> None:
    splits = {"train": corpus(90), "test": corpus(9, 1, "t")}
    there, back, other = (
        by_type(splits, groups, seed)
        for groups, seed in (([["X"], ["Y"]], 0), ([["Y"], ["X"]], 0), ([["X"], ["Y"]], 1))
    )
    assert there == back[::-1] != other


def test_train_loses_what_is_in_test_or_repeated_and_test_keeps_what_it_has_twice() -> None:
    a, b, c = (Sentence("", (word, "x"), ("O", "B-X")) for word in "abc")
    other = Sentence("", ("C", "x"), ("O", "O"))
    found = unseen({"train": [a, b, b, c, other], "valid": [a, a], "test": [Sentence("", ("A", "x"), ("O", "O")), a]})
    assert [s.words[0] for s in found["train"]] == ["b"]  # a is in test, c has two taggings
    assert found["valid"] == []
    assert [s.words[0] for s in found["test"]] == ["A", "a"]


def test_names_are_spelled_anew_inside_and_at_their_begin() -> None:
    [found] = renamed([Sentence("", ("a", "b", "c"), ("B-person", "I-person", "B-date"))], {"person": "PER"})
    assert found.tags == ("B-PER", "I-PER", "O")


def test_a_task_is_of_the_head_tag_and_its_labels_are_positions() -> None:
    splits = {"train": corpus(50), "test": corpus(10, 1, "t")}
    task = tagging("names", splits, marks(KINDS), train=20, valid=5, test=None, seed=0, source="here")
    assert (task.head, task.score, task.labels[0]) == ("tag", "entity_f1", "O")
    assert [len(rows) for rows in task.splits.values()] == [20, 5, 10]
    for row, s in zip(task.test, splits["test"], strict=True):
        assert (row.text, tuple(task.labels[label] for label in row.label)) == (s.words, s.tags)


def test_a_file_without_sentences_is_refused(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(DataError, match=r"a\.txt: no sentences"):
        sentences("a.txt", str(tmp_path))
