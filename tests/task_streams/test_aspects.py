"""Marked aspects of products: how marks are read, and that a sentence is in one split."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from continual.errors import ContinualError
from continual.stream.base import Stream, Task
from continual.stream.lint import check
from continual.task_streams import aspects

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def sentences(task: Task, split: str) -> set[str]:
    return {str(row.text[1]) for row in task.splits[split]}


@pytest.mark.parametrize(
    ("line", "marks"),
    [
        ("zoom[+2]##a lens .", [("positive", "zoom")]),
        ("picture[+3], macro mode[-1][u]##a lens .", [("positive", "picture"), ("negative", "macro mode")]),
        ("size[cs][+2]##a lens .", [("positive", "size")]),
        ("look{+1],use[-]##a lens .", [("positive", "look"), ("negative", "use")]),
        ("output[-3[p][u]##a lens .", [("negative", "output")]),
        ("1-800[+2][u] ##a lens .", [("positive", "1-800")]),
        ("##a lens with [+2] stars .", []),
        ("[t]a title [+2]", []),
        ("* [+n]: Positive opinion", []),
    ],
)
def test_the_sign_of_a_mark_is_the_label_of_its_aspect(line: str, marks: list[tuple[str, str]]) -> None:
    assert list(aspects._marks(line)) == [(label, (aspect, "a lens .")) for label, aspect in marks]


@pytest.fixture
def small(tmp_path: Path) -> str:
    (tmp_path / "asc_product_reviews").mkdir()
    lines = [
        "[t]good",
        *(f"zoom[{'+-'[i % 2]}2], use[{'+-'[i % 3 == 0]}1]##\xe9 number {i} ." for i in range(60)),
        "zoom[+1],zoom[-2]##both .",
    ]
    with zipfile.ZipFile(tmp_path / "asc_product_reviews/product_reviews_2.zip", "w") as archive:
        archive.writestr("product_reviews_2/ipod.txt", "\n".join(lines).encode("latin-1"))
    return str(tmp_path)


def test_all_rows_of_a_sentence_are_in_one_split_and_pairs_of_both_signs_in_none(small: str) -> None:
    [task] = aspects.tasks(["ipod"], mirror=small)
    train, valid, test = (sentences(task, split) for split in ("train", "valid", "test"))
    assert not train & valid
    assert not (train | valid) & test
    assert train | valid | test == {f"\xe9 number {i} ." for i in range(60)}
    assert [len(rows) for rows in task.splits.values()] == [2 * n for n in (43, 5, 12)]
    assert (task.train[0].text, task.labels) == (("zoom", "\xe9 number 0 ."), aspects.LABELS)
    assert check(Stream("s", (task,))) == []


def test_sizes_are_in_rows(small: str) -> None:
    [task] = aspects.tasks(["ipod"], train=11, valid=7, test=5, mirror=small)
    assert [len(rows) for rows in task.splits.values()] == [11, 7, 5]
    [few] = aspects.tasks(["ipod"], shots=4, mirror=small)
    assert [row.label for row in few.train].count(0) == 4 == len(few.train) - 4


def test_an_archive_without_the_product_is_named(small: str) -> None:
    with pytest.raises(
        ContinualError, match=r"product_reviews_2\.zip: expected a zip with product_reviews_2/norton\.txt"
    ):
        aspects.tasks(["norton"], mirror=small)
    (Path(small) / "asc_product_reviews/product_reviews_2.zip").write_bytes(b"no zip")
    with pytest.raises(ContinualError, match=r"expected a zip with product_reviews_2/ipod"):
        aspects.tasks(["ipod"], mirror=small)


def test_the_fourteen_real_products_are_clean_and_as_large_as_the_docstring_says() -> None:
    if not (DATA / "asc_product_reviews").is_dir():
        pytest.skip(f"{DATA} is not there")
    tasks = aspects.tasks(mirror=str(DATA))
    assert [task.name for task in tasks] == list(aspects.PRODUCTS)
    counts = {task.name: sum(map(len, task.splits.values())) for task in tasks}
    assert list(counts.values()) == [429, 286, 845, 203, 337, 148, 217, 239, 265, 192, 221, 603, 456, 241]
    assert counts["nomad-jukebox"] <= 846, "marks that the source counts"
    said = aspects.__doc__ or ""
    assert all(f"| {count} " in said.replace("  ", " ") for count in counts.values())
    for task in tasks:
        assert not sentences(task, "test") & (sentences(task, "train") | sentences(task, "valid")), task.name
    assert check(Stream("aspects", tuple(tasks), scenario="domain")) == []
