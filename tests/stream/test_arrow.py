"""Rows in Arrow tables: those of a list, and none of them held."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from continual.stream.arrow import AT_ONCE
from continual.stream.base import Example, Stream
from continual.stream.lint import check
from continual.stream.sample import few, split, subset
from continual.stream.stored import Stored
from continual.task_streams import hub
from tests.hub import REVISION, alone, columns
from tests.hub import parquet as written

MB = 2**20
ENTRY = {"repo": "own/set", "revision": REVISION}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def train(mirror: Path) -> Stored:
    [task] = hub.tasks({"a": ENTRY}, splits=dict.fromkeys(("train", "valid", "test"), "train"), mirror=str(mirror))
    assert isinstance(task.train, Stored)
    return task.train


@pytest.mark.parametrize("count", [1, AT_ONCE, 2 * AT_ONCE + 5])
def test_each_way_to_read_gives_the_rows_of_the_table(tmp_path: Path, count: int) -> None:
    given = columns(count, names=["x", "y", "z"])
    written(tmp_path / "own/set/train.parquet", given, ["x", "y", "z"])
    rows, wanted = train(tmp_path), list(map(Example, given["text"], given["label"]))
    assert list(rows) == list(rows) == [rows[i] for i in range(len(rows))] == wanted
    assert (rows[-1], list(rows[2:7:2]), list(rows[::-1])) == (wanted[-1], wanted[2:7:2], wanted[::-1])
    picked = np.array([count - 1, 0, count // 2, 0])
    assert list(rows.take(picked)) == [wanted[i] for i in picked]
    for draw in (lambda rows: subset(rows, count // 2 or 1, 0, "a"), lambda rows: few(rows, 1, 0, "a")):
        assert isinstance(draw(rows), Stored)
        assert list(draw(rows)) == draw(wanted)
    with pytest.raises(IndexError):
        rows[count]


def test_rows_go_to_another_process_and_a_split_of_them_stays_on_disk(tmp_path: Path) -> None:
    written(tmp_path / "own/set/train.parquet", columns(40))
    rows = train(tmp_path)
    assert list(pickle.loads(pickle.dumps(rows))) == list(rows)
    for stored, held in zip(split(rows, 0.3, 0, "a"), split(list(rows), 0.3, 0, "a"), strict=True):
        assert isinstance(stored, Stored)
        assert list(stored) == held


# Memory


def large(path: Path, count: int, length: int, block: int = 10_000) -> Path:
    """So many rows with texts of so many characters, no two alike, written a block at a time."""
    path.parent.mkdir(parents=True)
    schema = pyarrow.schema({"text": pyarrow.string(), "label": pyarrow.int64()})
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
        for start in range(0, count, block):
            numbers = range(start, min(start + block, count))
            texts = [f"{i} " + "abcd"[i % 4] * length for i in numbers]
            file.write_table(pyarrow.table({"text": texts, "label": [i % 4 for i in numbers]}, schema=schema))
    return path


def peaks(mirror: Path, **options: object) -> tuple[int, int]:
    """The most bytes that Python, and that Arrow, held while the stream was read, sampled, judged and hashed."""
    pool = pyarrow.default_memory_pool()
    before = pool.max_memory()
    tracemalloc.start()
    try:
        stream = Stream("hub", tuple(hub.tasks({"a": ENTRY}, mirror=str(mirror), **options)))
        check(stream)
        assert stream.digest
        return tracemalloc.get_traced_memory()[1], pool.max_memory() - before
    finally:
        tracemalloc.stop()


def test_no_list_of_all_texts_is_held(tmp_path: Path) -> None:
    path = large(tmp_path / "own/set/train.parquet", 4000, length=20_000, block=100)
    assert os.path.getsize(path) > 75 * MB
    python, arrow = peaks(tmp_path, splits={"train": "train", "valid": None, "test": None}, labels=list("abcd"))
    assert python < os.path.getsize(path) / 4
    assert arrow < os.path.getsize(path) / 4


def test_the_bound_on_memory_would_notice_texts_that_are_held(tmp_path: Path) -> None:
    path = large(tmp_path / "own/set/train.parquet", 3000, length=2000)
    rows = train(tmp_path)
    tracemalloc.start()
    try:
        held = list(rows)
        assert tracemalloc.get_traced_memory()[0] > os.path.getsize(path)
        assert len(held) == 3000
    finally:
        tracemalloc.stop()
    pool = pyarrow.default_memory_pool()
    before = pool.bytes_allocated()
    table = parquet.read_table(path)
    assert pool.bytes_allocated() - before > os.path.getsize(path) / 2
    assert len(table) == len(datasets.load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path))["train"])


@pytest.mark.slow
def test_two_hundred_thousand_rows_take_a_hundred_bytes_each(tmp_path: Path) -> None:
    path = large(tmp_path / "own/set/train.parquet", 200_000, length=1000, block=1000)
    assert os.path.getsize(path) > 190 * MB
    python, arrow = peaks(tmp_path, splits={"train": "train", "valid": None, "test": None}, labels=list("abcd"))
    assert python < 40 * MB
    assert arrow < 20 * MB
