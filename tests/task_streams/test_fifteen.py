"""The fifteen tasks of the long sequence: how their files are read, in which orders, and what the real ones hold."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from continual.errors import ContinualError, DataError
from continual.stream.base import Example, Stream
from continual.stream.cl_benchmark import FOLDERS, PAIRS, task
from continual.stream.lint import check
from continual.task_streams import fifteen

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

TRAIN = {  # rows of the files that the reference folder holds
    "mnli": 1200, "cb": 250, "wic": 800, "copa": 400, "qqp": 800, "boolqa": 800, "rte": 800, "imdb": 600, "yelp": 1500,
    "amazon": 2000, "sst-2": 800, "dbpedia": 2000, "agnews": 1600, "multirc": 800, "yahoo": 1200,
}  # fmt: skip
TEST = {
    "mnli": 750, "cb": 56, "wic": 500, "copa": 100, "qqp": 500, "boolqa": 500, "rte": 277, "imdb": 500, "yelp": 1000,
    "amazon": 1000, "sst-2": 500, "dbpedia": 1000, "agnews": 1000, "multirc": 300, "yahoo": 600,
}  # fmt: skip
CLASSES = {
    "mnli": 3, "cb": 3, "wic": 2, "copa": 2, "qqp": 2, "boolqa": 2, "rte": 2, "imdb": 2, "yelp": 5, "amazon": 5,
    "sst-2": 2, "dbpedia": 14, "agnews": 4, "multirc": 2, "yahoo": 10,
}  # fmt: skip


def write(root: Path, folder: str, train: list[Any], test: list[Any], labels: list[str]) -> None:
    place = root / "cl_benchmark" / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    (place / "train.json.gz").write_bytes(gzip.compress(json.dumps(train).encode()))
    (place / "test.json").write_text(json.dumps(test), encoding="utf-8")


def row(label: str, sentence: str) -> dict[str, str]:
    return {"label": label, "sentence": sentence}


def stars(count: int, what: str) -> list[dict[str, str]]:
    return [row(("good", "bad")[i % 2], f"{what} {i}") for i in range(count)]


def test_rows_and_sorted_labels_are_read_and_valid_is_held_out_of_train(tmp_path: Path) -> None:
    write(tmp_path, "yelp", stars(40, "fine"), stars(6, "food"), ["good", "bad"])
    [yelp] = fifteen.tasks(["yelp"], mirror=str(tmp_path))
    assert (yelp.name, yelp.labels) == ("yelp", ("bad", "good"))
    assert [len(rows) for rows in yelp.splits.values()] == [36, 4, 6]
    assert yelp.test[0] == Example("food 0", 1)
    assert check(Stream("s", (yelp,))) == []


def test_texts_of_test_and_repeated_ones_leave_train(tmp_path: Path) -> None:
    train = [*stars(40, "fine"), row("good", "FOOD  0"), row("good", "fine 0")]
    write(tmp_path, "yelp", train, stars(6, "food"), ["good", "bad"])
    [yelp] = fifteen.tasks(["yelp"], mirror=str(tmp_path))
    assert len(yelp.train) + len(yelp.valid) == 40


@pytest.mark.parametrize(
    ("name", "sentence", "texts"),
    [
        ("mnli", "sentence 1: a\nb\nsentence 2: c", ("a\nb", "c")),
        ("cb", "sentence 1: a\nsentence 2: b\nsentence 2: c", ("a\nsentence 2: b", "c")),
        ("rte", "sentence 1: a\nsentence 2: c", ("a", "c")),
        ("qqp", "first sentence: a?\nsecond sentence: c?", ("a?", "c?")),
        ("boolqa", "question: is it\npassage: It is -- it is.", ("is it", "It is -- it is.")),
        ("multirc", "paragraph: p\nq \nquestion: why?\ncandidate answer: so\n", ("p\nq", "why? so")),
        ("wic", "word: run\nA run.\nI run.", ("run: A run.", "I run.")),
        (
            "copa",
            'Which sentence is the effect of "X."? Choose one between A and B.\nA: One.\nB: Two.',
            ('Which sentence is the effect of "X."?', "A: One. B: Two."),
        ),
        ("sst-2", "Text: fine ", "Text: fine "),
        ("agnews", "Title: a\nText: b\n", "Title: a\nText: b\n"),
    ],
)
def test_two_texts_are_a_pair_and_one_stays_as_it_is(tmp_path: Path, name: str, sentence: str, texts: Any) -> None:
    rows = [row(("good", "bad")[i % 2], f"{sentence}{i}") for i in range(20)]
    write(tmp_path, FOLDERS[name], rows, [row("good", sentence)], ["bad", "good"])
    assert task(name, mirror=str(tmp_path)).test[0] == Example(texts, 1)


@pytest.mark.parametrize("wrong", [{"label": "odd", "sentence": "x"}, {"label": "good"}, ["good", "x"]])
def test_a_row_that_is_none_is_named(tmp_path: Path, wrong: Any) -> None:
    write(tmp_path, "yelp", [*stars(5, "fine"), wrong], stars(6, "food"), ["good", "bad"])
    with pytest.raises(DataError, match=r"cl_benchmark/yelp/train\.json, row 5: expected .*one of bad, good"):
        task("yelp", mirror=str(tmp_path))


def test_what_is_no_list_of_json_is_named(tmp_path: Path) -> None:
    write(tmp_path, "yelp", [], stars(6, "food"), ["good", "bad"])
    for content, message in (("[", "not JSON"), ("{}", "expected a list, got dict")):
        (tmp_path / "cl_benchmark/yelp/test.json").write_text(content)
        with pytest.raises(DataError, match=rf"cl_benchmark/yelp/test\.json: {message}"):
            task("yelp", mirror=str(tmp_path))


def test_an_absent_file_is_named_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match=r"cl_benchmark/MNLI/labels\.json.*cmnfriend/O-LoRA@07117e1f"):
        fifteen.tasks(mirror=str(tmp_path))


def test_every_published_order_has_each_task_once() -> None:
    assert set(fifteen.ORDERS) == {"order-4", "order-5", "order-6"}
    for order in fifteen.ORDERS.values():
        assert sorted(order) == sorted(FOLDERS)
    assert [order[0] for order in fifteen.ORDERS.values()] == ["mnli", "multirc", "yelp"]


def test_the_real_files_have_the_rows_of_their_source_and_are_clean() -> None:
    if not (DATA / "cl_benchmark").is_dir():
        pytest.skip(f"{DATA} is not there")
    tasks = fifteen.tasks(mirror=str(DATA))
    assert [task.name for task in tasks] == list(fifteen.ORDERS["order-4"])
    cleaned = Counter({"rte": 1})
    assert {t.name: len(t.train) + len(t.valid) + cleaned[t.name] for t in tasks} == TRAIN
    assert {t.name: len(t.test) for t in tasks} == TEST
    assert {t.name: len(t.labels) for t in tasks} == CLASSES
    for t in tasks:
        rows = [row for rows in t.splits.values() for row in rows]
        assert all(isinstance(row.text, tuple) == (t.name in PAIRS) for row in rows), t.name
        parts = [part for row in rows if isinstance(row.text, tuple) for part in row.text]
        assert not [part for part in parts if not part or "sentence 1:" in part or "candidate answer:" in part], t.name
    warnings = check(Stream("fifteen", tuple(tasks)))
    assert all("'neutral'" in warning for warning in warnings), warnings


def test_a_hundred_shots_of_the_real_files_are_so_many_of_each_class() -> None:
    if not (DATA / "cl_benchmark").is_dir():
        pytest.skip(f"{DATA} is not there")
    by_seed = [fifteen.tasks(["cb", "agnews"], shots=100, seed=seed, mirror=str(DATA)) for seed in (0, 1)]
    cb, news = by_seed[0]
    assert Counter(row.label for row in news.train) == dict.fromkeys(range(4), 100)
    assert Counter(cb.labels[row.label] for row in cb.train)["neutral"] == 14, "all that valid leaves"
    assert by_seed[0][1].digest != by_seed[1][1].digest
