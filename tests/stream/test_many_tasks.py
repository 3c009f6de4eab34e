"""A hundred tasks: what is written and held grows with the cells, and a run that was stopped goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from continual import drive, evaluate
from continual.evaluate import Evaluate, few
from continual.files import read_lines
from continual.head.classify import Classify
from continual.ledger import Cell, Ledger
from continual.outputs import Outputs
from continual.request import Recipe
from continual.stream.text import Reader
from continual.task_streams import toy
from tests import running, tiny

TASKS, STOP = 100, 30
TINY = {"count": TASKS, "train": 8, "valid": 4, "test": 4}


def test_a_cell_is_found_among_ten_thousand_in_no_time_and_the_first_of_its_key_counts(tmp_path: Path) -> None:
    ledger = Ledger([str(i) for i in range(TASKS)], tmp_path / "ledger.jsonl")
    for after in range(TASKS):
        ledger.add(Cell("learn", after, task, after / TASKS, 1, key=f"{task}/{after // 2}") for task in range(TASKS))
    start = time.process_time()
    for opened in (ledger, Ledger(ledger.tasks, ledger.path)):
        found = [opened.known(f"{task}/{after // 2}") for after in range(TASKS) for task in range(TASKS)]
        assert [cell.after for cell in found if cell is not None] == [
            a // 2 * 2 for a in range(TASKS) for _ in range(TASKS)
        ]
        assert opened.known("another") is None
    assert time.process_time() - start < 5  # some 0.3 s; by going through all cells it is minutes


def test_support_rows_of_a_task_are_drawn_once_for_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def counted(task, *more):
        drawn.append(task.name)
        return few(task, *more)

    monkeypatch.setattr(evaluate, "few", counted)
    running.run(tmp_path, stream=running.stream(count=4), recipe=Recipe(epochs=1, batch_size=8))
    assert sorted(drawn) == ["toy-0", "toy-1", "toy-2", "toy-3"]


def test_rows_that_are_read_with_ever_more_labels_are_held_once() -> None:
    reader = Reader(tiny.tokenizer(toy.WORDS), max_length=48)
    outputs = Outputs(tuple(toy.tasks(count=4)), "task")
    tasks = [outputs.task(0, after) for after in range(4)]
    assert len({len(task.labels) for task in tasks}) == 4
    read = [reader(task.test, Classify(), task.labels) for task in tasks]
    assert {id(task.test) for task in tasks} == {id(tasks[0].test)}
    assert len(reader._read) == 1
    assert reader(tasks[3].test, Classify(), tasks[3].labels) is read[3]
    assert all(len(each) == len(tasks[0].test) for each in read)


@pytest.mark.slow
def test_a_hundred_tasks_are_learned_in_two_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, learned = drive.learn, []

    def stopping(*arguments):
        if len(learned) == STOP:
            raise KeyboardInterrupt
        learned.append(1)
        return learn(*arguments)

    parts = running.parts(
        tmp_path,
        stream=running.stream(**TINY),
        recipe=Recipe(epochs=1, batch_size=8),
        evaluate=Evaluate(unseen="none", probe=0),
    )
    folder = Path(parts.runs) / parts.run_id
    monkeypatch.setattr(drive, "learn", stopping)
    with pytest.raises(KeyboardInterrupt):
        drive.run_stream(parts)
    assert len(read_lines(folder / "ledger.jsonl")) == STOP
    monkeypatch.setattr(drive, "learn", learn)
    record = drive.run_stream(parts)
    assert (record.status, len(record.cells), len(record.modules)) == ("finished", TASKS * (TASKS + 1) // 2, TASKS)
    assert sum(not cell.reused for cell in record.cells) == TASKS  # each task is forwarded once, after it was learned
    assert [len(row) for row in read_lines(folder / "ledger.jsonl")] == list(range(1, TASKS + 1))
    assert (folder / "dashboard.html").stat().st_size < 20 * 2**20
