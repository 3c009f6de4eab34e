"""Two files a split, a text and the number of its label a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from continual.errors import DataError
from continual.stream.tweeteval import pairs

LABELS = ("fine", "rude")


def written(root: Path, labels: str = "0\n1\n", texts: str = "one\ntwo\u2028three \n") -> str:
    folder = root / "tweeteval/offensive"
    folder.mkdir(parents=True)
    for part in ("train", "val", "test"):
        (folder / f"{part}_text.txt").write_text(texts.replace("one", part), encoding="utf-8")
        (folder / f"{part}_labels.txt").write_text(labels)
    return str(root)


def test_texts_have_the_label_of_their_line_and_only_line_feeds_end_lines(tmp_path: Path) -> None:
    found = pairs("offensive", LABELS, written(tmp_path))
    assert found["valid"] == [("fine", "val"), ("rude", "two\u2028three ")]
    assert list(found) == ["train", "valid", "test"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("0\n", r"train_labels\.txt: expected a label for each of 2 texts, got 1"),
        ("0\n2\n", r"train_labels\.txt, line 2: expected 0 or 1, got '2'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pairs("offensive", LABELS, written(tmp_path, labels))
