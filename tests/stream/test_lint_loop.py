"""What a run reads, and when: the faults that are in no stream but in the loop over it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from continual.errors import DataError
from continual.strategy.isolated import Isolated
from continual.strategy.sequential import Sequential
from continual.stream import batching
from continual.stream.base import Task
from continual.stream.sealed import sealed
from continual.task_streams import toy
from tests import running
from tests.watching import BATCH, Watched, parts, watch


@pytest.fixture(scope="module", params=[Isolated(), Sequential()], ids=["isolated", "sequential"])
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    with pytest.MonkeyPatch.context() as patch:
        return watch(parts(tmp_path_factory.mktemp("watched"), strategy=request.param), patch)


def test_validation_rows_are_read_in_the_stage_of_their_task_and_never_again(watched: Watched) -> None:
    assert [watched.stages(task, "valid") for task in range(2)] == [{0}, {1}]


def test_only_training_rows_of_the_task_are_trained_on(watched: Watched) -> None:
    for stage in range(2):
        trained = {text for read in watched.reads if read.stage == stage and read.training for text in read.texts}
        assert trained == watched.ids(stage, "train")


def test_every_row_is_trained_on_in_every_epoch_though_the_last_batch_is_short(watched: Watched) -> None:
    for stage in range(2):
        count = Counter(text for read in watched.reads if read.stage == stage and read.training for text in read.texts)
        assert set(count.values()) == {2}


def test_rows_scored_are_the_rows_of_the_split_though_the_last_batch_is_short(watched: Watched) -> None:
    assert {cell.n for cell in watched.record.cells} == {len(task.test) for task in watched.stream.tasks}
    for stage, times in ((0, 2), (1, 1)):  # in the first by the bare encoder too
        for task in range(2):
            scored = [text for read in watched.reads if read.stage == stage for text in read.texts]
            count = Counter(text for text in scored if text in watched.ids(task, "test"))
            assert count == dict.fromkeys(watched.ids(task, "test"), times)


def test_the_record_has_a_digest_of_each_task_and_of_the_stream(watched: Watched) -> None:
    assert [task.digest for task in watched.record.tasks] == [task.digest for task in watched.stream.tasks]
    assert watched.record.stream_digest == watched.stream.digest
    assert [(task.train, task.valid, task.test) for task in watched.record.tasks] == [
        tuple(len(rows) for rows in task.splits.values()) for task in watched.stream.tasks
    ]


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 23])
def test_no_batch_of_training_or_testing_is_dropped(rows: int) -> None:
    lengths = torch.arange(rows) % 3 + 1
    for batches in (batching.test_batches(lengths, BATCH), batching.epoch_batches(lengths, BATCH, seed=1, epoch=0)):
        assert sorted(torch.cat(batches).tolist()) == list(range(rows))


# What a strategy is given


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_sealed_task_tells_how_many_rows_it_has_and_shows_none(split: str) -> None:
    task = toy.tasks(count=1)[0]
    shut = sealed(task)
    assert [len(rows) for rows in shut.splits.values()] == [len(rows) for rows in task.splits.values()]
    assert shut.train is task.train
    for look in (list, lambda rows: rows[0], lambda rows: rows[:2], lambda rows: task.train[0] in rows):
        with pytest.raises(
            DataError, match=rf"task 'toy-0': a strategy read its {split} rows; expected train rows only"
        ):
            look(shut.splits[split])


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_strategy_that_learns_from_an_old_tasks_other_rows_fails_the_run(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(self: Isolated, stage) -> list:
        old: Task = stage.tasks[0]
        return [*stage.task.train, *old.splits[split]] if len(stage.tasks) > 1 else stage.task.train

    monkeypatch.setattr(Isolated, "rows", rows)
    with pytest.raises(DataError, match=f"task 'toy-0': a strategy read its {split} rows"):
        running.run(tmp_path)
