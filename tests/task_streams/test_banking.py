"""Banking77 in tasks of other classes each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from continual.errors import ContinualError, DataError
from continual.stream.base import Stream
from continual.stream.classes import union
from continual.stream.lint import check
from continual.task_streams import banking

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LABELS = ["lost", "stolen", "late", "fee"]


@pytest.fixture
def small(tmp_path: Path) -> str:
    (tmp_path / "banking77").mkdir()
    (tmp_path / "banking77/categories.json").write_text(json.dumps(LABELS), encoding="utf-8")
    for split, count in (("train", 10), ("test", 3)):
        rows = [f'"{split}, {label}\n{i}?",{label}' for i in range(count) for label in LABELS]
        packed = gzip.compress("\r\n".join(["text,category", *rows, ""]).encode())
        (tmp_path / f"banking77/{split}.csv.gz").write_bytes(packed)
    return str(tmp_path)


def test_classes_are_dealt_out_and_valid_is_held_out_of_train(small: str) -> None:
    tasks = banking.tasks(size=2, class_order=None, valid=4, mirror=small)
    assert [(task.name, task.labels) for task in tasks] == [
        ("classes-0", ("lost", "stolen")),
        ("classes-1", ("late", "fee")),
    ]
    assert [len(rows) for rows in tasks[0].splits.values()] == [16, 4, 6]
    assert tasks[0].test[0].text == "test, lost\n0?"
    assert check(Stream("s", tuple(tasks), scenario="class")) == []


def test_a_row_of_no_category_is_named_with_its_line(small: str) -> None:
    place = Path(small) / "banking77/test.csv"
    place.write_text("text,category\nfine,lost\nodd,found\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"banking77/test\.csv, line 3: expected a text and one of the categories"):
        banking.tasks(size=2, mirror=small)


def test_absent_data_are_named_with_their_source(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match=r"banking77/categories\.json.*PolyAI-LDN"):
        banking.tasks(mirror=str(tmp_path))


def test_seven_real_tasks_have_eleven_classes_each_and_the_published_rows() -> None:
    if not (DATA / "banking77").is_dir():
        pytest.skip(f"{DATA} is not there")
    tasks = banking.tasks(mirror=str(DATA))
    assert [len(task.labels) for task in tasks] == [11] * 7
    assert len(union(tasks)) == 77
    assert sum(len(task.train) + len(task.valid) for task in tasks) == 9992, "of 10,003, cleaned"
    assert sum(len(task.test) for task in tasks) == 3079, "of 3,080, cleaned"
    assert check(Stream("banking", tuple(tasks), scenario="class")) == []
    assert {task.digest for task in tasks}.isdisjoint(
        task.digest for task in banking.tasks(class_order=1, mirror=str(DATA))
    )
