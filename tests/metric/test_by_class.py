"""The mean over classes: against Avalanche's rule on random answers, and in a run whose answers are known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from continual.evaluate import recall
from continual.ledger import Cell, Ledger
from continual.metric.by_class import average_mean_class_accuracy
from continual.report.record import CellFacts, Record, load
from continual.score.accuracy import Accuracy
from continual.strategy.sequential import Sequential
from continual.stream.base import Example, Scenario, Stream, Task
from continual.task_streams import toy
from tests import mixed, running


class Running:
    """Avalanche's rule: rows come in as they are answered; ``after_experience`` closes an evaluation."""

    def __init__(self) -> None:
        self.closed: list[float] = []
        self.right: Counter[int] = Counter()
        self.rows: Counter[int] = Counter()

    def update(self, found: Sequence[int], wanted: Sequence[int]) -> None:
        for answer, truth in zip(found, wanted, strict=True):
            self.rows[truth] += 1
            self.right[truth] += answer == truth

    def result(self) -> float:
        now = [fmean(self.right[c] / n for c, n in self.rows.items())] if self.rows else []
        return fmean(self.closed + now)

    def after_experience(self) -> None:
        self.closed.append(fmean(self.right[c] / n for c, n in self.rows.items()))
        self.right.clear()
        self.rows.clear()


def drawn(rng: np.random.Generator) -> list[list[int]]:
    """Of each task the classes of its test rows, as many as there are rows: no class is of two tasks."""
    ends = rng.integers(2, 7, rng.integers(1, 6)).cumsum().tolist()
    return [rng.integers(low, high, rng.integers(1, 40)).tolist() for low, high in zip([0, *ends], ends, strict=False)]


def task(name: str, wanted: Sequence[int], classes: int) -> Task:
    test = [Example(f"{name} {row}", label) for row, label in enumerate(wanted)]
    return Task(name, tuple(map(str, range(classes))), test[:1], test[:1], test)


def test_it_is_the_running_mean_of_avalanche_on_random_answers() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows, theirs = drawn(rng), Running()
        ours = Ledger(f"task {number}" for number in range(len(rows)))
        for after in range(len(rows)):
            if after:
                theirs.after_experience()
            known = 1 + max(label for wanted in rows[: after + 1] for label in wanted)
            for number, wanted in enumerate(rows[: after + 1]):
                found = np.where(rng.random(len(wanted)) < 0.5, wanted, rng.integers(0, known, len(wanted))).tolist()
                theirs.update(found, wanted)
                stats = Accuracy().rows(found, wanted, ())
                mean, classes = recall(task(f"task {number}", wanted, known), stats)
                score = stats[:, 0].mean()
                ours.add([Cell("learn", after, number, score, len(wanted), recall=mean, classes=classes)])
            if after + 1 == len(rows):
                assert average_mean_class_accuracy(ours) == pytest.approx(theirs.result(), abs=1e-12)


# In a run that answers every row with the first label


SIZES = {"train": 40, "valid": 12, "words": 6}


def unequal(labels: str) -> tuple[Task, ...]:
    """Tasks of two, three and four classes. In the test of the first task three rows of four are of its first class."""
    found = []
    for number, classes in enumerate((2, 3, 4)):
        [made] = toy.tasks(count=1, classes=classes, test=12 * classes, **SIZES)
        test = [row for i, row in enumerate(made.test) if number or row.label == 0 or i % 3 == 0]
        names = tuple(f"{labels.format(number)}{label}" for label in range(classes))
        found.append(Task(f"task-{number}", names, made.train, made.valid, test))
    return tuple(found)


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("continual.evaluate.answers", lambda model, bank, data: [0] * len(data))


def table(record: Record, stage: str = "learn") -> dict[tuple[int, int], tuple[float | None, int]]:
    return {(c.after, c.task): (c.recall, c.classes) for c in record.cells if c.stage == stage and c.how == "own"}


@pytest.mark.usefixtures("first")
def test_of_each_class_the_right_rows_count_and_not_how_many_rows_it_has(tmp_path: Path) -> None:
    record = running.run(tmp_path, stream=Stream("unequal", unequal("{}-")))
    cells = table(record)
    assert cells == {(i, j): (pytest.approx(1 / (2 + j)), 2 + j) for i in range(3) for j in range(i + 1)}
    scores = {c.task: c.score for c in record.cells if c.stage == "learn" and c.after == 2}
    assert scores[0] != pytest.approx(1 / 2)
    by_hand = (1 / 2 + 2 / 5 + 3 / 9) / 3  # of 2, 5 and 9 classes one, two and three are always right
    assert record.metrics["average_mean_class_accuracy"].value == pytest.approx(by_hand)
    assert record.metrics["average_mean_class_accuracy"].missing == 0


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(("scenario", "labels"), [("class", "{}-"), ("shared", "")])
def test_without_task_identities_an_answer_is_one_of_all_labels(
    tmp_path: Path, scenario: Scenario, labels: str
) -> None:
    stream = Stream("unequal", unequal(labels), scenario)
    record = running.run(tmp_path, stream=stream, strategy=Sequential())
    has_first = [True, False, False] if scenario == "class" else [True] * 3
    expected = {(i, j): (has_first[j] / (2 + j), 2 + j) for i in range(3) for j in range(i + 1)}
    assert table(record) == {at: (pytest.approx(mean), classes) for at, (mean, classes) in expected.items()}
    known = {"class": (1 / 2 + 1 / 5 + 1 / 9) / 3, "shared": (1 / 2 + 2 / 5 + 3 / 9) / 3}
    assert record.metrics["average_mean_class_accuracy"].value == pytest.approx(known[scenario])


def test_answers_that_are_no_classes_or_judged_otherwise_have_no_class_accuracy(tmp_path: Path) -> None:
    topic, names, degree = mixed.tasks(heads=("topic", "names", "degree"))
    other = Task("other", topic.labels, topic.train, topic.valid, topic.test, score="macro_f1")
    plain = Task("plain", topic.labels, topic.train, topic.valid, topic.test[:15])  # five rows of each of three classes
    record = running.run(tmp_path, stream=Stream("mixed", (plain, names, degree, other)))
    scores = {cell.task: cell.score for cell in record.cells if cell.stage == "learn" and cell.after == 3}
    last = {task: cell for (after, task), cell in table(record).items() if after == 3}
    assert last == {0: (pytest.approx(scores[0]), 3), **dict.fromkeys((1, 2, 3), (None, 0))}
    metric, cells = record.metrics["average_mean_class_accuracy"], table(record)
    assert metric.value == pytest.approx(fmean(cells[after, 0][0] or 0 for after in range(4)))
    assert metric.missing == sum(mean is None for mean, _ in cells.values()) == 6


def test_records_and_ledgers_of_before_it_was_written_are_read(tmp_path: Path) -> None:
    parts = running.parts(tmp_path)
    record = running.run(tmp_path)
    assert any(cell.recall is not None for cell in record.cells)
    path = tmp_path / "runs" / parts.run_id / "run.json"
    facts = json.loads(path.read_text())
    for cell in facts["cells"]:
        del cell["recall"], cell["classes"]
    path.write_text(json.dumps(facts))
    old = load(path)
    assert {(cell.recall, cell.classes) for cell in old.cells} == {(None, 0)}
    assert [(c.score, c.key) for c in old.cells] == [(c.score, c.key) for c in record.cells]
    fields = set(CellFacts.model_fields) - {"recall", "classes"}
    assert [Cell(**cell).recall for cell in facts["cells"] if set(cell) == fields] == [None] * len(old.cells)
