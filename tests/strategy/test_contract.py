"""What holds for every strategy of the folder, in every scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from continual import folder
from continual.request import Recipe
from continual.session import Session
from continual.store.store import Store
from continual.strategy.base import Strategy
from continual.stream.base import Scenario
from tests import running
from tests.strategy import lab

NAMES = folder.names("continual.strategy")
QUICK = Recipe(lr=0.02, epochs=1, batch_size=8)
PAIRS = [(name, scenario) for name in NAMES for scenario in lab.SCENARIOS]
APART = [(name, scenario) for name in NAMES for scenario in ("task", "class")]


def made(name: str) -> Strategy:
    return folder.made("continual.strategy", name, lab.OPTIONS.get(name, {}))


def given(name: str) -> dict[str, Any]:
    """The strategy, and the method that it is tested with."""
    return {"strategy": made(name), "method": lab.METHODS.get(name, lab.METHOD), "recipe": QUICK}


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_it_learns_every_task_and_each_is_scored(name: str, scenario: Scenario, tmp_path: Path) -> None:
    record = lab.run(tmp_path, stream=lab.stream(scenario, rows=16), **given(name))
    assert record.status == "finished"
    assert record.encoder_unchanged
    assert record.modules_unchanged
    assert sorted(lab.cells(record)) == [(i, j) for i in range(3) for j in range(i + 1)]
    assert all(cell.score is not None for cell in record.cells)


@pytest.mark.parametrize(("name", "scenario"), APART)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    name: str, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed before the third task is stored: what the strategy must remember of two is on disk."""
    asked = given(name) | {"stream": lab.stream(scenario, rows=16)}
    whole = running.results(lab.run(tmp_path / "whole", **asked))
    keep, calls = Session.keep, []

    def until_third(*arguments):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return keep(*arguments)

    monkeypatch.setattr(Session, "keep", until_third)
    with pytest.raises(KeyboardInterrupt):
        lab.run(tmp_path / "again", **asked)
    monkeypatch.setattr(Session, "keep", keep)
    assert running.results(lab.run(tmp_path / "again", **asked)) == whole


@pytest.mark.parametrize("name", NAMES)
def test_with_task_identities_a_shared_module_answers_by_the_labels_of_the_task(name: str, tmp_path: Path) -> None:
    record = lab.run(tmp_path, stream=lab.stream(rows=16), **given(name))
    store, strategy = Store(tmp_path / "store"), made(name)
    labels = [store.get(module.digest).card.labels for module in record.modules]
    if strategy.one_head:
        assert labels[-1] == ("task-0/a", "task-0/b", "task-1/a", "task-1/b", "task-2/a", "task-2/b")
    else:
        assert labels[-1] == ("a", "b")
