"""What is known of a row when it is answered decides what is forgotten."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from rich.console import Console

from continual.adapter import generator
from continual.errors import ContinualError
from continual.head.classify import Classify
from continual.outputs import Outputs, Within
from continual.report.dashboard import render
from continual.report.grid import known
from continual.report.table import show
from continual.request import Recipe
from continual.store.store import Store
from continual.strategy.joint import Joint
from continual.strategy.replay import Replay
from continual.strategy.sequential import Sequential
from continual.stream.base import Example, Stream, Task
from tests.strategy import lab


def tasks(**labels: tuple[str, ...]) -> tuple[Task, ...]:
    rows = [Example("a", 0), Example("b", 1)]
    return tuple(Task(name, own, rows, rows, rows) for name, own in labels.items())


def test_outputs_are_in_the_order_of_arrival_and_a_label_of_two_tasks_is_one() -> None:
    given = tasks(x=("cat", "dog"), y=("dog", "emu"), z=("emu", "cat"))
    shared = Outputs(given, "class")
    assert shared.names == ("cat", "dog", "emu")
    assert [shared.of(i) for i in range(3)] == [(0, 1), (1, 2), (2, 0)]
    assert [shared.count(i) for i in range(3)] == [2, 3, 3]
    assert [row.label for row in shared.rows(2, given[2].train)] == [2, 0]
    assert shared.task(1, 1).labels == ("cat", "dog", "emu")
    apart = Outputs(given, "task")
    assert len(apart.names) == 6
    assert apart.of(2) == (4, 5)


def test_of_the_one_head_a_task_takes_its_own_outputs_and_what_all_have_in_common() -> None:
    params = {"weight": torch.randn(4, 7), "bias": torch.randn(4), "projection": torch.randn(7, 5)}
    own = Outputs(tasks(x=("a", "b"), y=("c", "b", "d")), "class").own(params, 1)
    assert torch.equal(own["weight"], params["weight"][[2, 1, 3]])
    assert torch.equal(own["bias"], params["bias"][[2, 1, 3]])
    assert own["projection"] is params["projection"]


def test_within_a_task_only_its_own_labels_compete() -> None:
    """Loss and gradient are those of the task's own head; the other outputs have none."""
    head, logits = Within((0, 0, 1, 1, 1)), torch.randn(4, 5, requires_grad=True)
    targets, index = torch.tensor([0, 1, 2, 4]), torch.arange(4)
    loss = head.loss(logits, targets, index, torch.zeros(4))
    alone = [
        torch.nn.functional.cross_entropy(logits[row : row + 1, a:b], targets[row : row + 1] - a)
        for row, (a, b) in enumerate([(0, 2), (0, 2), (2, 5), (2, 5)])
    ]
    assert torch.allclose(loss, torch.stack(alone))
    loss.sum().backward()
    assert logits.grad is not None
    assert not logits.grad[:2, 2:].any()
    assert not logits.grad[2:, :2].any()
    wide = torch.cat([logits.detach(), torch.full((4, 2), 9.0)], 1)  # beside a wider head
    assert head.decode(wide, [0, 0, 1, 1], index) == [
        *logits[:2, :2].argmax(1).tolist(),
        *(logits[2:, 2:].argmax(1) + 2).tolist(),
    ]
    assert torch.allclose(head.loss(wide, targets, index, torch.zeros(4)), loss)


def test_one_head_cannot_answer_what_chooses_no_label_or_is_of_two_kinds() -> None:
    tagged = Task("y", ("O", "B-A"), (), (), (), head="tag")
    told = r"must be of head classify or all of head tag; got x \(classify\), y \(tag\).*strategy=isolated"
    with pytest.raises(ContinualError, match=told):
        Outputs((*tasks(x=("a", "b")), tagged), "task")
    with pytest.raises(ContinualError, match=r"got z \(search\)"):
        Outputs((replace(tagged, name="z", head="search"),), "task")
    with pytest.raises(ContinualError, match=r"all must be of head classify; got y \(tag\)"):
        Outputs((tagged,), "task", ("classify",))


def test_a_head_grows_by_new_outputs_and_keeps_the_old(tmp_path: Path) -> None:
    given = lab.stream("class")
    record = lab.run(tmp_path, strategy=Sequential(), stream=given)
    heads = [Store(tmp_path / "store").get(module.digest).head for module in record.modules]
    assert [len(head["weight"]) for head in heads] == [2, 4, 6]
    fresh = Classify().init(lab.encoder().width, 4, generator(0, "head", "learn/task-1"))
    grown = Sequential().start_head(fresh, heads[0])
    assert torch.equal(grown["weight"][:2], heads[0]["weight"])
    assert torch.equal(grown["weight"][2:], fresh["weight"][2:])
    assert Joint().start_head(fresh, heads[0]) is fresh


def test_without_task_identities_naive_training_answers_with_the_newest_labels(tmp_path: Path) -> None:
    """And beside each score stands what it would be if the task were given."""
    record = lab.run(tmp_path, strategy=Sequential(), stream=lab.stream("class"))
    learn, oracle = lab.cells(record), lab.cells(record, "oracle")
    assert sorted(learn) == sorted(oracle)
    assert learn[0, 0].score == oracle[0, 0].score == 1
    assert learn[2, 2].score == 1
    assert learn[2, 0].score == 0
    assert all(learn[cell].score <= oracle[cell].score for cell in learn)
    given = 100 * sum(oracle[2, j].score for j in range(3)) / 3
    assert record.scenario == "class"
    assert f"with it the last row would be {given:.1f} on average" in known(record)
    assert record.metrics["average_accuracy"].value == pytest.approx(sum(learn[2, j].score for j in range(3)) / 3)


@pytest.mark.parametrize("strategy", [Joint(), Replay(size=64)])
def test_old_rows_keep_old_labels(strategy: Joint | Replay, tmp_path: Path) -> None:
    for scenario in lab.SCENARIOS:
        record = lab.run(tmp_path / scenario, strategy=strategy, stream=lab.stream(scenario))
        last = [lab.cells(record)[2, j].score for j in range(3)]
        assert min(last) >= 0.9, (scenario, last)


def test_isolated_modules_are_given_the_task_and_the_table_says_so(tmp_path: Path, capsys) -> None:
    record = lab.run(tmp_path, stream=lab.stream("class"), recipe=Recipe(lr=0.02, epochs=1, batch_size=8))
    show(record, Console(width=200))
    assert "scenario class, but each row's task was given here" in capsys.readouterr().out
    assert "was given here; what is answered without it: routing" in render(record)
    assert not lab.cells(record, "oracle")


def test_streams_of_two_scenarios_are_two_runs() -> None:
    given = lab.stream()
    assert Stream(given.name, given.tasks, "domain").digest != given.digest


def test_the_one_head_starts_from_the_outputs_that_the_last_task_left(tmp_path: Path) -> None:
    """Steps too small to see: what a stage stores is what it started from."""
    still = Recipe(lr=1e-9, epochs=1, batch_size=8, weight_decay=0.0)
    record = lab.run(tmp_path, strategy=Sequential(), stream=lab.stream("class"), recipe=still)
    heads = [Store(tmp_path / "store").get(module.digest).head["weight"] for module in record.modules]
    assert [len(weight) for weight in heads] == [2, 4, 6]
    for before, after in pairwise(heads):
        assert torch.allclose(after[: len(before)], before, atol=1e-6)
        assert not torch.allclose(after[-2:], before[:2], atol=1e-3)
