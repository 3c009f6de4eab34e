"""Stance by target: texts and labels line by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from continual.errors import ContinualError, DataError
from continual.stream.base import Example, Stream
from continual.stream.lint import check
from continual.task_streams import stance

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def small(tmp_path: Path) -> str:
    for target in ("climate", "hillary"):
        place = tmp_path / "tweeteval/stance" / target
        place.mkdir(parents=True)
        for split, count in (("train", 12), ("val", 3), ("test", 6)):
            texts = "".join(f"{split} of {target}\x85 {i} #SemST\n" for i in range(count))
            (place / f"{split}_text.txt.gz").write_bytes(gzip.compress(texts.encode()))
            (place / f"{split}_labels.txt").write_text("".join(f"{i % 3}\n" for i in range(count)))
    return str(tmp_path)


def test_a_target_is_a_task_with_the_labels_of_all(small: str) -> None:
    tasks = stance.tasks(["hillary", "climate"], mirror=small)
    assert [(task.name, task.labels, task.score) for task in tasks] == [
        ("hillary", ("none", "against", "favor"), "macro_f1"),
        ("climate", ("none", "against", "favor"), "macro_f1"),
    ]
    assert [len(rows) for rows in tasks[0].splits.values()] == [12, 3, 6]
    assert tasks[1].test[4] == Example("test of climate\x85 4 #SemST", 1), "a line ends at its line feed only"
    assert check(Stream("s", tuple(tasks), scenario="domain")) == []


def test_lines_that_do_not_match_and_what_is_no_label_are_named(small: str) -> None:
    labels = Path(small) / "tweeteval/stance/climate/val_labels.txt"
    labels.write_text("0\n1\n")
    with pytest.raises(DataError, match=r"climate/val_labels\.txt: expected a label for each of 3 texts, got 2"):
        stance.tasks(["climate"], mirror=small)
    labels.write_text("0\n3\n1\n")
    with pytest.raises(DataError, match=r"climate/val_labels\.txt, line 2: expected 0, 1 or 2, got '3'"):
        stance.tasks(["climate"], mirror=small)


def test_an_unknown_target_and_absent_data_are_named(small: str) -> None:
    with pytest.raises(DataError, match="unknown task 'trump'; choose from: abortion, atheism"):
        stance.tasks(["trump"], mirror=small)
    with pytest.raises(ContinualError, match=r"tweeteval/stance/abortion/train_text\.txt.*cardiffnlp/tweeteval"):
        stance.tasks(mirror=small)


def test_five_real_targets_are_clean_and_as_large_as_the_docstring_says() -> None:
    if not (DATA / "tweeteval").is_dir():
        pytest.skip(f"{DATA} is not there")
    tasks = stance.tasks(mirror=str(DATA))
    assert {task.name: [len(rows) for rows in task.splits.values()] for task in tasks} == {
        "abortion": [586, 66, 280],  # 587 lines of train
        "atheism": [461, 52, 220],
        "climate": [354, 40, 169],  # 355
        "feminist": [597, 67, 284],  # 285 of test
        "hillary": [606, 69, 295],  # 620
    }
    assert check(Stream("stance", tuple(tasks), scenario="domain")) == []
