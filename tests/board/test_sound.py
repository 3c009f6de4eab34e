"""A record that contradicts itself is found out, whatever its bytes are called."""

from __future__ import annotations

import pytest

from continual.board.sound import require
from continual.errors import CorruptError
from continual.metric.base import metrics
from continual.report.record import Record

from . import made

WHOLE = made.record()


def cells(**changes) -> Record:
    """With one cell changed, and metrics that follow from all of them."""
    first, *others = WHOLE.cells
    return WHOLE.model_copy(update={"cells": [first.model_copy(update=changes), *others]})


def test_a_record_of_a_run_is_sound() -> None:
    require(WHOLE, metrics())


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (WHOLE.model_copy(update={"seed": 7}), "its seed is 7, but 0 was chosen"),
        (WHOLE.model_copy(update={"method": "ia3"}), "its strategy and method"),
        (WHOLE.model_copy(update={"code": "other"}), "its code"),
        (WHOLE.model_copy(update={"stream_digest": "0"}), "its stream"),
        (WHOLE.model_copy(update={"id": "0" * 16}), "its id is 0000000000000000, but that of its choices is"),
        (WHOLE.model_copy(update={"config": {}}), "expected the choices"),
        (WHOLE.model_copy(update={"created": "yesterday"}), "its date is 'yesterday'"),
        (WHOLE.model_copy(update={"created": "2026-11-24T10:15:00"}), "with a zone"),
        (cells(task=3), "is of no task: there are 3"),
        (cells(task=-1), "is of no task"),
        (cells(after=3), "is of no task"),
        (cells(n=7), "is over 7 rows, and the task has 277"),
        (cells(score=1.5), "has the score 1.5"),
        (WHOLE.model_copy(update={"cells": [WHOLE.cells[0], *WHOLE.cells]}), "stands there 2 times"),
        (WHOLE.model_copy(update={"tasks": [], "cells": []}), "it has no tasks"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_does_not_fit_together_is_said(record: Record, why: str) -> None:
    with pytest.raises(CorruptError, match=why):
        require(record, metrics())


@pytest.mark.parametrize("where", ["choices", "target"])
def test_a_configuration_that_is_not_finite_has_no_id(where: str) -> None:
    odd = {"choices": {**WHOLE.config["choices"], "recipe": {"lr": float("nan")}}, "target": float("inf")}
    with pytest.raises(CorruptError, match="not finite"):
        require(WHOLE.model_copy(update={"config": {**WHOLE.config, where: odd[where]}}), metrics())


@pytest.mark.parametrize("name", ["average_accuracy", "forgetting"])
def test_a_metric_that_does_not_follow_from_the_cells_is_found(name: str) -> None:
    better = WHOLE.metrics[name].model_copy(update={"value": 0.99})
    record = WHOLE.model_copy(update={"metrics": {**WHOLE.metrics, name: better}})
    with pytest.raises(CorruptError, match=rf"its {name} is 0\.99 with 0 cells missing, but"):
        require(record, metrics())


def test_a_metric_whose_missing_cells_are_there_is_found() -> None:
    fewer = WHOLE.metrics["forgetting"].model_copy(update={"missing": 3})
    with pytest.raises(CorruptError, match="with 3 cells missing, but"):
        require(WHOLE.model_copy(update={"metrics": {**WHOLE.metrics, "forgetting": fewer}}), metrics())


def test_a_cell_that_was_raised_no_longer_gives_the_metric() -> None:
    last = next(cell for cell in WHOLE.cells if cell.stage == "learn" and cell.after == 2)
    raised = [cell.model_copy(update={"score": 0.99}) if cell is last else cell for cell in WHOLE.cells]
    with pytest.raises(CorruptError, match="average_accuracy"):
        require(WHOLE.model_copy(update={"cells": raised}), ["average_accuracy"])


def test_a_metric_of_another_version_of_its_formula_is_left_alone() -> None:
    other = WHOLE.metrics["forgetting"].model_copy(update={"value": 0.99, "definition": "forgetting@99"})
    require(WHOLE.model_copy(update={"metrics": {**WHOLE.metrics, "forgetting": other}}), metrics())
