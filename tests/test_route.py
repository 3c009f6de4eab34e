"""A run with a router: its record says how well rows are answered whose task is not given, beside the oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from continual import summary
from continual.report.record import load
from continual.report.table import show
from continual.request import Recipe
from continual.router.mixture import Mixture
from continual.router.nearest import Nearest
from continual.router.oracle import Oracle
from continual.stream.base import Example, Stream
from continual.task_inference import FILES, TaskInference
from tests import running

LONG = Recipe(epochs=8, batch_size=8)


def named_apart(stream: Stream) -> Stream:
    """Labels that no two tasks share."""
    own = [replace(t, labels=tuple(f"{t.name} {label}" for label in t.labels)) for t in stream.tasks]
    return Stream(stream.name, tuple(own))


def test_after_every_task_and_of_each_at_the_end_route_and_oracle_stand_side_by_side(tmp_path: Path) -> None:
    record = running.run(tmp_path, router=Nearest(), stream=named_apart(running.stream()), recipe=LONG)
    routing = record.routing
    assert routing is not None
    assert (routing.router, routing.tasks) == ("nearest", [0, 1, 2])
    assert [(row.after, row.task, row.n) for row in routing.rows] == [
        (0, None, 24),
        (1, None, 48),
        (2, None, 72),
        (2, 0, 24),
        (2, 1, 24),
        (2, 2, 24),
    ]
    own = {cell.task: cell.score for cell in record.cells if cell.stage == "learn" and cell.after == 2}
    for row in routing.rows[3:]:
        assert row.task is not None
        assert row.oracle == pytest.approx(own[row.task])
        assert (row.lucky, row.lost) == (0, 0)
        assert row.total is not None
        assert row.total <= min(row.route, row.oracle or 0.0)
    everything = routing.rows[2]
    assert everything.route == pytest.approx(np.mean([row.route for row in routing.rows[3:]]))
    shares = [[count / 24 for count in counts] for counts in routing.confusion]
    assert [sum(row) for row in shares] == pytest.approx([1, 1, 1])
    assert [shares[task][task] for task in range(3)] == pytest.approx([row.route for row in routing.rows[3:]])
    assert load(next((tmp_path / "runs").glob("*/run.json"))) == record


def test_told_the_task_it_answers_as_the_oracle(tmp_path: Path) -> None:
    record = running.run(tmp_path, router=Oracle())
    assert record.routing is not None
    for row in record.routing.rows:
        assert (row.route, row.total) == (1.0, row.oracle)


def test_what_the_router_knows_lies_in_the_runs_folder(tmp_path: Path) -> None:
    record = running.run(tmp_path, router=Mixture())
    place = tmp_path / "runs" / record.id
    known = TaskInference.load(place)
    assert known.tasks == ("toy-0", "toy-1", "toy-2")
    assert record.routing is not None
    assert known.temperature == record.routing.temperature
    assert {*FILES} <= {path.name for path in place.iterdir()}


def test_without_a_router_nothing_is_routed(tmp_path: Path) -> None:
    record = running.run(tmp_path)
    assert record.routing is None
    assert not list(tmp_path.rglob("router.*"))


def test_a_run_that_stopped_after_routing_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = running.run(tmp_path / "unbroken", router=Mixture())
    with monkeypatch.context() as patch:
        patch.setattr(summary, "save", lambda record, path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            running.run(tmp_path / "broken", router=Mixture())
    assert running.run(tmp_path / "broken", router=Mixture()).routing == wanted.routing


def test_the_shared_module_answers_with_each_tasks_own_head(tmp_path: Path) -> None:
    from continual.strategy.sequential import Sequential

    record = running.run(tmp_path, router=Nearest(), strategy=Sequential())
    assert record.routing is not None
    own = {cell.task: cell.score for cell in record.cells if cell.stage == "learn" and cell.after == 2}
    assert [row.oracle for row in record.routing.rows[3:]] == pytest.approx([own[task] for task in range(3)])


def mixed() -> Stream:
    """Two tasks of classes and one of numbers."""
    first, second, third = running.stream().tasks
    splits = {name: tuple(Example(row.text, float(row.label)) for row in rows) for name, rows in second.splits.items()}
    return Stream("toy", (first, replace(second, head="regress", labels=(), **splits), third))


def test_of_a_task_without_classes_the_route_alone_is_scored(tmp_path: Path) -> None:
    record = running.run(tmp_path, router=Nearest(), stream=mixed())
    assert record.routing is not None
    rows = {row.task: row for row in record.routing.rows if row.after == 2}
    assert (rows[1].answered, rows[1].oracle, rows[1].total) == (0, None, None)
    assert (rows[None].n, rows[None].answered) == (72, 48)
    assert any("of toy-1 only the route is scored" in line for line in record.warnings)


def test_a_router_of_logits_leaves_a_task_without_classes_out_and_says_so(tmp_path: Path) -> None:
    record = running.run(tmp_path, router=Mixture(), stream=mixed())
    assert record.routing is not None
    assert record.routing.tasks == [0, 2]
    assert any("toy-1 is not routed to: router=mixture reads logits" in line for line in record.warnings)


def test_table_and_page_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = running.run(tmp_path, router=Oracle())
    show(record)
    assert "Task not given: router oracle, % of test rows" in capsys.readouterr().out
    page = (tmp_path / "runs" / record.id / "dashboard.html").read_text(encoding="utf-8")
    assert '<section class="card wide" id="routing">' in page
