"""Tagged sentences: columns, slot folders, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from continual.errors import DataError
from continual.score.entity_f1 import entities
from continual.stream.base import Example, Stream
from continual.stream.lint import check
from continual.stream.tagged import Sentence, begun
from continual.task_streams import conll

NEWS = """-DOCSTART- -X- O O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="")
        return str(path)

    return write


def one(path: str, **options):
    """The task of one file that is train, valid and test."""
    [task] = conll.tasks({"news": {"train": path, "valid": path, "test": path}}, **options)
    return task


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sentences_of_columns_are_read_and_document_lines_left_out(write: Write, end: str) -> None:
    task = one(write("a.txt", NEWS.replace("\n", end)))
    assert task.labels == ("O", "B-MISC", "B-ORG", "B-PER", "I-PER")
    assert list(task.train) == [
        Example(("EU", "rejects", "German"), (2, 0, 1)),
        Example(("Peter", "Blackburn"), (3, 4)),
    ]
    assert (task.head, task.score) == ("tag", "")


def test_columns_and_separator_can_be_chosen(write: Write) -> None:
    path = write("a.tsv", "B-X\tNew York\tz\nO\tis\tz\n\nI-X\tthere\tz\n")
    task = one(path, word=1, tag=0, separator="\t")
    assert list(task.train) == [Example(("New York", "is"), (1, 0)), Example(("there",), (1,))]
    assert one(write("b.txt", NEWS), tag=1, score="accuracy").labels == ("JJ", "NNP", "VBZ")


def test_names_marked_in_the_old_way_are_marked_in_the_new(write: Write) -> None:
    """IOB1 has B- only between two names of a kind. What conlleval takes for names stays the same."""
    old = ("I-X", "I-X", "B-X", "O", "I-Y", "I-X", "E-X", "I-X", "S-Y", "I-Y")
    new = begun(Sentence("", old, old)).tags
    assert new == ("B-X", "I-X", "B-X", "O", "B-Y", "B-X", "E-X", "B-X", "S-Y", "B-Y")
    split = [[(tag[0], tag[2:]) for tag in tags] for tags in (old, new)]
    assert entities(split[0]) == entities(split[1])
    assert begun(Sentence("", new, new)).tags == new


def test_a_folder_of_slots_is_read_line_by_line(write: Write) -> None:
    write("train/seq.in", "book a table\nplay jazz \n")
    folder = Path(write("train/seq.out", "O O B-thing\nO B-genre\n")).parent
    task = one(str(folder))
    assert task.train[1] == Example(("play", "jazz"), (0, 1))
    write("train/seq.out", "O O B-thing\nO\n")
    with pytest.raises(DataError, match=r"seq\.in, line 2: expected a tag for each word, got 2 words and 1 tags"):
        one(str(folder))
    write("train/seq.out", "O O B-thing\n")
    with pytest.raises(DataError, match=r"as many lines in seq\.in as in seq\.out, got 2 and 1"):
        one(str(folder))
    (folder / "seq.out").unlink()
    with pytest.raises(DataError, match=r"seq\.out: no such file"):
        one(str(folder))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "a O\nb\n",
            {},
            r"a\.txt, line 2: expected 2 columns, as in line 1, got 1 \('b'\); mend it, or set separator=",
        ),
        ("a\nb O\n", {}, r"line 1: expected a word and its tag, got 1"),
        ("a\tO\n\tO\n", {"separator": "\t"}, r"line 2: expected a word in column 0, got '\\tO'"),
        ("a\tO\nb\t\n", {"separator": "\t"}, r"line 2: expected a tag in column -1"),
        ("a\tO\nNew York\tO\n", {}, r"line 2: expected 2 columns, as in line 1, got 3"),
        ("a O\n", {"tag": 3}, r"line 1: tag=3 is no column of 2"),
        (
            "a O\n\nb NN\n",
            {},
            r"a\.txt, the sentence at line 3: expected tags of names: O, .* got 'NN'.*score=token_accuracy",
        ),
        ("\n\n", {}, r"a\.txt: no sentences"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write: Write, content: str, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        one(write("a.txt", content), **options)


def test_a_tag_that_train_lacks_is_a_label_and_a_warning(write: Write) -> None:
    files = {
        "train": write("a.txt", "a B-X\nb O\n"),
        "valid": write("b.txt", "c B-X\n"),
        "test": write("c.txt", "d I-Y\n"),
    }
    [task] = conll.tasks({"n": files})
    assert task.labels == ("O", "B-X", "B-Y")
    assert check(Stream("n", (task,))) == ["task 'n', test: train has no row of 'B-Y', which cannot be learned"]


def test_sentences_are_held_out_of_one_file_and_a_subset_leaves_the_others_alone(write: Write) -> None:
    path = write("My News.txt", "".join(f"w{i} {'B-X' if i % 2 else 'O'}\nv O\n\n" for i in range(40)))
    (whole,), (cut,) = conll.tasks([path]), conll.tasks([path], train=5)
    assert (whole.name, [len(rows) for rows in whole.splits.values()]) == ("my-news", [29, 3, 8])
    assert (cut.valid, cut.test, len(cut.train)) == (whole.valid, whole.test, 5)
    assert set(cut.train) <= set(whole.train)
    assert check(Stream("conll", (whole,))) == []
