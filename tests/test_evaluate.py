"""Scores with a head and without, and few rows a class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.evaluate import Evaluate, Evaluator, few, score_of
from continual.head.classify import Classify
from continual.ledger import Ledger, wilson
from continual.predict import features
from continual.score.base import Floats
from continual.stream.base import Example, Task
from continual.stream.text import Reader
from continual.stream.units import Encoded
from continual.task_streams import toy
from tests import running, tiny

TASK = toy.tasks(count=1, classes=3, train=60, valid=12, test=40)[0]


def evaluator(model: AdaptedEncoder, options: Evaluate, ledger: Ledger | None = None) -> Evaluator:
    reader = Reader(tiny.tokenizer(toy.WORDS), max_length=48)
    return Evaluator(model, reader, ledger or Ledger([TASK.name]), options, "salt", seed=0)


@pytest.fixture
def model():
    made = AdaptedEncoder(running.encoder())
    yield made
    made.release()


@pytest.mark.parametrize("shots", [1, 5, 1000])
def test_an_unseen_task_is_scored_by_the_nearest_class_mean(model: AdaptedEncoder, shots: int) -> None:
    scorer = evaluator(model, Evaluate(shots=shots))
    cell = scorer.unseen("zero", -1, 0, TASK, "bare", lambda: None)
    support = few(TASK, shots, 0)
    known, tested = (
        features(model, scorer.reader(rows, Classify(), TASK.labels)).double().numpy() for rows in (support, TASK.test)
    )
    labels = np.array([row.label for row in support])
    means = np.stack([known[labels == c].mean(0) for c in range(3)])
    answers = ((tested[:, None] - means[None]) ** 2).sum(-1).argmin(1)
    hits = int((answers == [row.label for row in TASK.test]).sum())
    assert cell.score == hits / 40
    assert (cell.how, cell.n, cell.low, cell.high) == ("ncm", 40, *wilson(hits, 40))
    assert scorer.forwarded == 40 + len(support)


def test_what_is_forwarded_is_counted_in_units(model: AdaptedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two units a row, as windows would be: with a head, and for the nearest class mean."""

    def doubled(rows, head, labels) -> Encoded:
        data = Reader(tiny.tokenizer(toy.WORDS), 48)(rows, head, labels)
        twice = [data.inputs[i // 2] for i in range(2 * len(rows))]
        first, targets = 2 * data.first, torch.as_tensor(data.targets).repeat_interleave(2)
        return replace(data, inputs=tuple(twice), targets=targets, row=data.row.repeat_interleave(2), first=first)

    scorer = evaluator(model, Evaluate())
    monkeypatch.setattr(scorer, "reader", doubled)
    monkeypatch.setattr(scorer, "_nearest", lambda support, data: list(data.wanted))
    monkeypatch.setattr("continual.evaluate.answers", lambda model, bank, data: list(data.wanted))
    scorer.stats(TASK, Classify().init(model.width, 3, torch.Generator()))
    assert scorer.forwarded == 2 * 40
    scorer.unseen("zero", -1, 0, TASK, "bare", lambda: None)
    assert scorer.forwarded == 2 * (40 + 40 + 60)


def test_a_class_without_a_training_row_is_a_gap_with_a_reason(model: AdaptedEncoder) -> None:
    rows = [row for row in TASK.train if row.label != 1]
    task = Task("t", TASK.labels, rows, TASK.valid, TASK.test)
    cell = evaluator(model, Evaluate()).unseen("zero", -1, 0, task, "bare", lambda: pytest.fail("nothing to load"))
    assert cell.score is None
    assert cell.why == "no training row of ['class-1']"


def test_unseen_tasks_are_skipped_where_that_is_asked(model: AdaptedEncoder) -> None:
    assert evaluator(model, Evaluate(unseen="none")).unseen("zero", -1, 0, TASK, "bare", lambda: None) is None


@pytest.mark.parametrize("reuse", [True, False])
def test_a_cell_is_taken_again_where_nothing_that_it_depends_on_changed(model: AdaptedEncoder, reuse: bool) -> None:
    ledger = Ledger([TASK.name])
    scorer = evaluator(model, Evaluate(reuse=reuse), ledger)
    calls = []

    def answer() -> Floats:
        calls.append(1)
        return score_of(TASK).rows([int(i % 4 == 0) for i in range(40)], [1] * 40, TASK.labels)

    for after, modules in enumerate((["a", "h"], ["a", "h"], ["b", "h"], ["a", "i"])):
        ledger.add([scorer.seen("learn", after, 0, TASK, modules, answer)])
    assert len(calls) == (3 if reuse else 4)
    assert [cell.reused for cell in ledger.cells] == [False, reuse, False, False]
    assert {cell.score for cell in ledger.cells} == {0.25}


def test_keys_depend_on_all_that_a_score_does(model: AdaptedEncoder) -> None:
    scorer, other = evaluator(model, Evaluate()), evaluator(model, Evaluate())
    other.salt = "another encoder"
    changed = Task(TASK.name, TASK.labels, TASK.train, TASK.valid, TASK.test[1:])
    keys = [scorer.key(["a"], TASK), scorer.key(["b"], TASK), scorer.key(["a"], changed), other.key(["a"], TASK)]
    assert len(set(keys)) == 4


@given(shots=st.integers(1, 12), seed=st.integers(0, 3), sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4))
@settings(max_examples=40, deadline=None)
def test_few_rows_are_at_most_so_many_of_each_class_and_always_the_same(
    shots: int, seed: int, sizes: list[int]
) -> None:
    rows = [Example(f"{label} {i}", label) for label, size in enumerate(sizes) for i in range(size)]
    task = Task("t", tuple(map(str, range(len(sizes)))), rows, rows, rows)
    chosen = few(task, shots, seed)
    assert chosen == few(task, shots, seed)
    assert len(set(chosen)) == len(chosen)
    assert [sum(row.label == label for row in chosen) for label in range(len(sizes))] == [min(shots, s) for s in sizes]


def test_other_seeds_and_names_choose_other_rows() -> None:
    renamed = Task("other", TASK.labels, TASK.train, TASK.valid, TASK.test)
    assert few(TASK, 3, 0) != few(TASK, 3, 1)
    assert few(TASK, 3, 0) != few(renamed, 3, 0)


@pytest.mark.parametrize("options", [{"unseen": "maybe"}, {"shots": 0}])
def test_options_are_checked(options: dict) -> None:
    with pytest.raises(ContinualError, match=rf"evaluate\.{next(iter(options))}"):
        Evaluate(**options)
