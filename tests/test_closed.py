"""Runs whose head is computed: what is trained, what is stored, what answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from continual import closed, predict
from continual.bank import HeadBank
from continual.closed import computed
from continual.encoder.adapted import AdaptedEncoder
from continual.head.classify import Classify
from continual.method.head import HeadOnly
from continual.method.lora import LoRA
from continual.recalled import recall
from continual.request import Recipe
from continual.router.mixture import Mixture
from continual.store.store import Store
from continual.strategy.base import Closed, Stage
from continual.strategy.ranpac import RanPAC
from continual.strategy.simplecil import SimpleCIL
from continual.strategy.slda import SLDA
from continual.stream.base import Example, Rows, Task
from continual.stream.text import Reader
from continual.stream.units import Encoded
from tests.strategy import lab

STREAM = lab.stream("class")
ALL = [SimpleCIL(), SLDA(shrinkage=0.1), RanPAC(features=64)]
each = pytest.mark.parametrize("strategy", ALL, ids=[type(strategy).__name__ for strategy in ALL])


def read(task: Task, rows: Rows) -> Encoded:
    return Reader(lab.encoder().tokenizer, lab.encoder().max_length)(rows, Classify(), task.labels)


@each
def test_a_bare_encoder_is_never_trained_and_knows_all_classes_at_once(strategy: Closed, tmp_path: Path) -> None:
    record = lab.run(tmp_path, strategy=strategy, method=HeadOnly(), stream=STREAM)
    assert [(module.steps, module.trainable) for module in record.modules] == [(0, 0)] * 3
    heads = [Store(tmp_path / "store").get(module.digest).head for module in record.modules]
    assert [len(head["weight"]) for head in heads] == [2, 4, 6]
    last = lab.cells(record)
    assert min(last[2, task].score or 0.0 for task in range(3)) >= 0.9
    assert all(module.valid_score is not None and module.valid_score >= 0.9 for module in record.modules)


@each
def test_only_the_first_task_trains_the_module_and_its_head_is_not_kept(strategy: Closed, tmp_path: Path) -> None:
    record = lab.run(tmp_path, strategy=strategy, method=LoRA(rank=2), stream=STREAM)
    assert [module.steps > 0 for module in record.modules] == [True, False, False]
    assert [module.trainable > 0 for module in record.modules] == [True, False, False]
    assert all(module.seconds > 0 for module in record.modules)
    store = Store(tmp_path / "store")
    entries = [store.get(module.digest) for module in record.modules]
    for later in entries:
        assert all(torch.equal(later.tensors[key], tensor) for key, tensor in entries[0].tensors.items())
    assert any(tensor.any() for key, tensor in entries[0].tensors.items() if key.endswith("/b"))
    task = STREAM.tasks[0]
    model = AdaptedEncoder(lab.encoder())
    recall(store, record.modules[0].digest, lab.encoder()).install(model)
    data = read(task, task.train)
    features = predict.row_features(model, data)
    model.release()
    stage = Stage((task,), (), {}, encode=read, bare=read, seed=0, one_head=True)  # type: ignore[arg-type]
    wanted, _ = computed(strategy, stage, features, torch.tensor(data.wanted))
    assert wanted.keys() == entries[0].head.keys()
    assert all(torch.allclose(entries[0].head[name], wanted[name], rtol=1e-4, atol=1e-5) for name in wanted)


@each
def test_the_stored_module_of_the_last_task_answers_all_labels(strategy: Closed, tmp_path: Path) -> None:
    """With its head, read back from the store as ``continual answer`` reads it."""
    record = lab.run(tmp_path, strategy=strategy, method=HeadOnly(), stream=STREAM)
    found = recall(Store(tmp_path / "store"), record.modules[-1].digest, lab.encoder())
    assert found.card.labels == ("0a", "0b", "1a", "1b", "2a", "2b")
    assert found.head is not None
    model = AdaptedEncoder(lab.encoder())
    found.install(model)
    bank, right = HeadBank([(found.head, found.head_params)]), []
    for number, task in enumerate(STREAM.tasks):
        data = read(task, task.test)
        said = predict.answers(model, bank, data)
        right.append(np.mean([answer == 2 * number + wanted for answer, wanted in zip(said, data.wanted, strict=True)]))
    model.release()
    assert right == [pytest.approx(lab.cells(record)[2, task].score) for task in range(3)]


@each
def test_rows_can_be_routed_by_the_logits_of_each_tasks_own_outputs(strategy: Closed, tmp_path: Path) -> None:
    record = lab.run(tmp_path, strategy=strategy, method=HeadOnly(), stream=STREAM, router=Mixture())
    assert record.routing is not None
    whole = [row for row in record.routing.rows if row.task is None][-1]
    assert whole.total is not None
    assert whole.total >= 0.8


def test_a_first_task_that_diverges_leaves_the_training_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it summed up is not counted."""
    read_features, calls = closed.row_features, []

    def first_is_lost(*arguments):
        calls.append(None)
        return read_features(*arguments) * (float("nan") if len(calls) == 1 else 1)

    monkeypatch.setattr(closed, "row_features", first_is_lost)
    record = lab.run(tmp_path, strategy=SimpleCIL(), method=LoRA(rank=2), stream=STREAM)
    assert [module.status for module in record.modules] == ["diverged", "ok", "ok"]
    assert record.modules[0].why == "the features of its training rows are not finite"
    assert [module.steps > 0 for module in record.modules] == [True, True, False]
    head = Store(tmp_path / "store").get(record.modules[-1].digest).head
    assert head["bias"].tolist() == [closed.NEVER] * 2 + [0.0] * 4
    assert record.status == "finished with failures"


def test_a_training_that_diverges_gives_no_head(tmp_path: Path) -> None:
    hot = Recipe(lr=1e30, epochs=1, batch_size=8)
    record = lab.run(tmp_path, strategy=SimpleCIL(), method=LoRA(rank=2), stream=STREAM, recipe=hot)
    assert [(module.status, module.digest) for module in record.modules] == [("diverged", "")] * 3


def test_the_validation_score_is_that_of_the_validation_rows(tmp_path: Path) -> None:
    """Here all of them are labelled wrongly."""
    wrong = [replace(task, valid=[Example(row.text, 1 - row.label) for row in task.valid]) for task in STREAM.tasks]
    given = replace(STREAM, tasks=tuple(wrong))
    record = lab.run(tmp_path, strategy=SimpleCIL(), method=HeadOnly(), stream=given)
    assert [module.valid_score for module in record.modules] == [0.0] * 3
    assert min(lab.cells(record)[2, task].score or 0.0 for task in range(3)) >= 0.9
