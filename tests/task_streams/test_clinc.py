"""CLINC150 by domain and by class, and its questions out of scope."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from continual.errors import ContinualError, DataError
from continual.stream.base import Example, Stream
from continual.stream.classes import union
from continual.stream.lint import check
from continual.task_streams import clinc

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
DOMAINS = {"travel": ["fly", "drive", "walk"], "kitchen": ["cook", "bake", "fry"]}


@pytest.fixture
def small(tmp_path: Path) -> str:
    intents = [intent for domain in DOMAINS.values() for intent in domain]
    rows = {
        split: [[f"{split} {intent} {i}", intent] for i in range(count) for intent in reversed(intents)]
        for split, count in (("train", 4), ("val", 1), ("test", 2))
    }
    rows["train"] += [["TEST fly 0", "fly"], ["train fly  0", "fly"]]
    rows |= {f"oos_{split}": [[f"odd {split}", "oos"]] for split in ("train", "val", "test")}
    (tmp_path / "clinc150").mkdir()
    (tmp_path / "clinc150/data_full.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    (tmp_path / "clinc150/domains.json").write_text(json.dumps(DOMAINS), encoding="utf-8")
    return str(tmp_path)


@pytest.fixture(scope="module")
def mirror() -> str:
    if not (DATA / "clinc150").is_dir():
        pytest.skip(f"{DATA} is not there")
    return str(DATA)


def test_a_domain_is_a_task_with_its_own_intents(small: str) -> None:
    travel, kitchen = clinc.tasks(mirror=small)
    assert (travel.name, travel.labels) == ("travel", ("fly", "drive", "walk"))
    assert [len(rows) for rows in travel.splits.values()] == [12, 3, 6], (
        "what is in test, or stands twice, is not in train"
    )
    assert kitchen.test[0] == Example("test fry 0", 2)
    assert check(Stream("s", (travel, kitchen), scenario="class")) == []


def test_classes_are_dealt_out_by_their_order_and_tasks_arranged_by_theirs(small: str) -> None:
    dealt = clinc.tasks(
        "classes", size=2, class_order=["fry", "fly", "bake", "walk"], order=["classes-1", "classes-0"], mirror=small
    )
    assert [(task.name, task.labels) for task in dealt] == [
        ("classes-1", ("bake", "walk")),
        ("classes-0", ("fry", "fly")),
    ]
    orders = [union(clinc.tasks("classes", size=3, class_order=seed, mirror=small)) for seed in (0, 0, 1, None)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[3] == ("fly", "drive", "walk", "cook", "bake", "fry")


def test_questions_out_of_scope_are_in_no_task(small: str) -> None:
    assert clinc.out_of_scope(mirror=small) == [Example("odd test", 0)]
    assert clinc.out_of_scope("valid", small) == [Example("odd val", 0)]
    texts = [row.text for task in clinc.tasks(mirror=small) for rows in task.splits.values() for row in rows]
    assert not [text for text in texts if str(text).startswith("odd")]
    with pytest.raises(ContinualError, match="unknown split 'dev'"):
        clinc.out_of_scope("dev", small)


def test_other_groupings_and_sizes_that_do_not_fit_are_refused(small: str) -> None:
    with pytest.raises(ContinualError, match="by of stream clinc 'intents'; choose from: classes, domains"):
        clinc.tasks("intents", mirror=small)
    with pytest.raises(DataError, match="choose a size from: 2, 3, 6"):
        clinc.tasks("classes", size=4, mirror=small)


def test_ten_real_domains_have_fifteen_intents_each_and_the_published_rows(mirror: str) -> None:
    tasks = clinc.tasks(mirror=mirror)
    assert {len(task.labels) for task in tasks} == {15}
    assert [sum(len(task.splits[split]) for task in tasks) for split in ("train", "valid", "test")] == [
        14_995,
        3000,
        4500,
    ]
    assert {(len(task.valid), len(task.test)) for task in tasks} == {(300, 450)}
    assert len(tasks) == 10
    assert len(union(tasks)) == 150
    assert [len(clinc.out_of_scope(split, mirror)) for split in ("train", "valid", "test")] == [100, 100, 1000]
    assert check(Stream("clinc", tuple(tasks), scenario="class")) == []


def test_fifteen_real_tasks_have_ten_classes_each_few_shot_too(mirror: str) -> None:
    tasks = clinc.tasks("classes", shots=5, test=100, mirror=mirror)
    assert [task.name for task in tasks] == [f"classes-{i:02d}" for i in range(15)]
    for task in tasks:
        assert Counter(row.label for row in task.train) == dict.fromkeys(range(10), 5)
        assert (len(task.valid), len(task.test)) == (200, 100)
    assert len(union(tasks)) == 150
    assert check(Stream("clinc", tuple(tasks), scenario="class")) == []
