"""A stored module asked about rows without labels: it says what the run that made it was scored on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import continual
from continual import head
from continual import score as scores
from continual.asked import BLANK, ask
from continual.composition.fusion import Fusion
from continual.drive import run_stream
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.evaluate import score_name
from continual.parts import Parts
from continual.recalled import Recalled, recall
from continual.report.record import Record
from continual.score.base import value
from continual.store import Store
from continual.stream.base import Stream, Task
from tests import mixed, running

TASKS = mixed.tasks()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parts, Record]:
    parts = running.parts(tmp_path_factory.mktemp("ask"), stream=Stream("mixed", tuple(TASKS)))
    return parts, run_stream(parts)


@pytest.fixture
def model(run: tuple[Parts, Record]) -> AdaptedEncoder:
    return AdaptedEncoder(run[0].encoder)


def stored(run: tuple[Parts, Record], task: Task) -> Recalled:
    digest = next(module.digest for module in run[1].modules if module.task == task.name)
    return recall(Store(run[0].store), digest, run[0].encoder)


def index(task: Task, said: Any) -> Any:
    """What a score compares: labels by their places."""
    if task.head == "classify":
        return task.labels.index(said)
    if task.head in ("multilabel", "tag"):
        return tuple(map(task.labels.index, said))
    return said


@pytest.mark.parametrize("task", [task for task in TASKS if task.head in BLANK], ids=lambda task: task.name)
def test_what_is_said_of_the_test_rows_has_the_score_of_the_record(
    run: tuple[Parts, Record], model: AdaptedEncoder, task: Task
) -> None:
    said = ask(model, stored(run, task), [row.text for row in task.test])
    if task.head == "choice":
        said = [row.text.index(option) - 1 for row, option in zip(task.test, said, strict=True)]
    wanted = [row.label for row in task.test]
    if task.head == "span":
        wanted = [tuple(text for _, text in label) for label in wanted]
    score = scores.named(score_name(task))
    found = value(score, score.rows([index(task, answer) for answer in said], wanted, task.labels))
    cell = [cell for cell in run[1].cells if TASKS[cell.task].name == task.name and cell.stage == "learn"][-1]
    assert found == pytest.approx(cell.score)


def test_every_head_is_asked_or_refused_by_name(run: tuple[Parts, Record], model: AdaptedEncoder) -> None:
    heads = {task.head for task in TASKS}
    assert set(BLANK) <= heads
    for task in TASKS:
        if task.head not in BLANK:
            with pytest.raises(ContinualError, match=f"the head '{task.head}' has no answer to a row by itself"):
                ask(model, stored(run, task), [task.test[0].text])


def test_a_composition_is_asked_as_a_module_is(tmp_path: Path) -> None:
    parts = running.parts(tmp_path, compositions=(Fusion(),))
    record = run_stream(parts)
    name = next(module.name for module in record.modules if module.method == "fusion")
    module, task = recall(Store(parts.store), name, parts.encoder), parts.stream.tasks[parts.target_index]
    said = ask(AdaptedEncoder(parts.encoder), module, [row.text for row in task.test])
    right = [task.labels[row.label] == answer for row, answer in zip(task.test, said, strict=True)]
    assert sum(right) / len(right) == pytest.approx(record.gains[0].score)


def test_no_row_has_no_answer_and_is_no_error(run: tuple[Parts, Record], model: AdaptedEncoder) -> None:
    assert ask(model, stored(run, TASKS[0]), []) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("one text", "expected a list of rows, got one text"),
        ([None], "row 0 is not what"),
        (["a word", 3], "row 1 is not"),
    ],
)
def test_rows_that_cannot_be_read_are_named(
    run: tuple[Parts, Record], model: AdaptedEncoder, rows: Any, said: str
) -> None:
    task = next(task for task in TASKS if task.head == "classify")
    with pytest.raises(ContinualError, match=said):
        ask(model, stored(run, task), rows)


def test_an_encoder_that_pools_otherwise_is_refused(run: tuple[Parts, Record], model: AdaptedEncoder) -> None:
    module = stored(run, next(task for task in TASKS if task.head == "classify"))
    odd = module.card.model_copy(update={"pooling": "cls"})
    with pytest.raises(ContinualError, match="reads cls pooling, got mean"):
        ask(model, Recalled(odd, module.adapters, head.named("classify"), module.head_params), ["a"])


def test_it_is_a_name_of_the_notebook() -> None:
    assert continual.ask is ask
