"""What every file of ``continual/router`` promises; a new file is tested without a line here."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch

from continual import folder
from continual.errors import ContinualError, CorruptError
from continual.router import name_of, named
from continual.router.base import Evidence, Query, Router
from continual.task_inference import FILES, TaskInference

from .rows import CLASSES, NAMES, WIDTH, evidence, query, said, shown

ROUTERS = folder.names("continual.router")
SURE = {"oracle": 1.0, "entropy": 0.5}
"""Of three tasks, chance is 0.33."""


@pytest.fixture(params=ROUTERS)
def router(request: pytest.FixtureRequest) -> Router:
    return named(request.param, {})


def test_a_file_can_name_it_again(router: Router) -> None:
    assert len((type(router).__doc__ or "").split()) > 5
    values = json.loads(json.dumps(folder.arguments(router)))
    assert named(name_of(router), values) == router
    with pytest.raises(ContinualError, match=r"does not take \['surprise'\]; it takes \["):
        named(name_of(router), {"surprise": 1})
    with pytest.raises(ContinualError, match=r"router.top must be at least 1, got 0"):
        named(name_of(router), {"top": 0})


@pytest.mark.parametrize("name", ["mahalanobsi", "../oracle", "base", "os.system"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ContinualError, match=", ".join(ROUTERS)):
        named(name, {})


def test_rows_go_to_their_task_far_more_often_than_by_chance(router: Router) -> None:
    asked = query()
    routed = shown(router).scores(asked).argmax(1)
    assert float((routed == asked.truth).double().mean()) >= SURE.get(name_of(router), 0.6)


def test_in_whatever_order_tasks_came_the_scores_are_the_same_bit_for_bit(router: Router) -> None:
    asked = query()
    wanted = dict(zip(NAMES, shown(router).scores(asked).T, strict=True))
    for order in permutations(range(3)):
        known = shown(router, order)
        truth = None if asked.truth is None else torch.tensor([order.index(t) for t in asked.truth.tolist()])
        scores = known.scores(replace(asked, truth=truth))
        assert known.tasks == tuple(NAMES[task] for task in order)
        assert all(torch.equal(column, wanted[task]) for task, column in zip(known.tasks, scores.T, strict=True))


def test_a_row_is_scored_as_it_is_alone(router: Router) -> None:
    known, asked = shown(router), query()
    together = known.scores(asked)
    for row in (0, 20, 44):
        x = asked.features[row : row + 1]
        assert asked.truth is not None
        alone = known.scores(Query(x, said(x), asked.truth[row : row + 1]))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-6, atol=1e-6)


def test_probabilities_are_those_of_a_softmax_at_the_temperature(router: Router) -> None:
    known = replace(shown(router), temperature=2.0)
    p = known.probabilities(query())
    torch.testing.assert_close(p.sum(1), torch.ones(len(p), dtype=torch.float64))
    torch.testing.assert_close(p, (known.scores(query()) / 2).softmax(1))


def test_saved_and_loaded_it_scores_the_same(router: Router, tmp_path: Path) -> None:
    known = replace(shown(router, (2, 0, 1)), temperature=0.5)
    known.save(tmp_path)
    again = TaskInference.load(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert (again.tasks, again.temperature, again.router) == (known.tasks, 0.5, router)
    truth = torch.tensor([1, 2, 0]).repeat_interleave(15)
    asked = replace(query(), truth=truth)
    assert torch.equal(again.scores(asked), known.scores(asked))
    more = Evidence(torch.randn(20, WIDTH), torch.arange(20) % 2, torch.randn(20, 2))
    assert again.learn("more", more).tasks == (*known.tasks, "more")


def test_a_damaged_file_is_refused(router: Router, tmp_path: Path) -> None:
    shown(router).save(tmp_path)
    facts = json.loads((tmp_path / FILES[1]).read_text())
    (tmp_path / FILES[1]).write_text(json.dumps({**facts, "tensors": "0" * 64}))
    with pytest.raises(CorruptError, match="is not a saved router: the tensors are not those"):
        TaskInference.load(tmp_path)
    (tmp_path / FILES[1]).write_text("{")
    with pytest.raises(CorruptError, match="is not a saved router"):
        TaskInference.load(tmp_path)


def test_with_one_task_every_row_is_of_it(router: Router) -> None:
    known = TaskInference(router).learn("news", evidence(0)).calibrated("news", query(only=0))
    assert known.temperature == 1.0
    assert torch.equal(known.probabilities(query(only=0)), torch.ones(15, 1, dtype=torch.float64))


def test_a_class_of_one_row_and_a_class_without_any_are_no_trouble(router: Router) -> None:
    x = torch.eye(WIDTH)[:2]
    known = TaskInference(router).learn("few", Evidence(x, torch.tensor([0, 3]), torch.eye(4)[[0, 3]]))
    asked = Query(x, lambda task, rows: torch.eye(4)[[0, 3]][rows], torch.zeros(2, dtype=torch.long))
    assert bool(known.scores(asked).isfinite().all())


def test_what_cannot_be_routed_is_refused(router: Router) -> None:
    known = shown(router)
    with pytest.raises(ContinualError, match="knows task 'news' already"):
        known.learn("news", evidence(0))
    with pytest.raises(ContinualError, match="knows no task yet"):
        TaskInference(router).scores(query())
    x = query().features.clone()
    x[3, 2] = float("nan")
    with pytest.raises(ContinualError, match=r"1 of 45 rows have NaN or infinite values, the first is row 3"):
        Query(x, said(x))
    with pytest.raises(ContinualError, match="training rows: 1 of 45 rows have NaN"):
        Evidence(x, torch.zeros(45))
    with pytest.raises(ContinualError, match="as many labels and logits as features"):
        Evidence(torch.zeros(3, WIDTH), torch.zeros(2))
    if router.needs_logits:
        bad = Query(query().features, lambda task, rows: torch.full((len(rows), 2), float("nan")))
        with pytest.raises(ContinualError, match=r"logits under the module of alarms: .* NaN"):
            known.scores(bad)


def test_features_of_another_encoder_are_refused(router: Router) -> None:
    wide = Evidence(torch.randn(8, WIDTH + 1), torch.arange(8) % 2, torch.randn(8, 2))
    with pytest.raises(ContinualError, match=f"expected features of {WIDTH} dimensions, got {WIDTH + 1}"):
        shown(router).learn("other", wide)
    with pytest.raises(ContinualError, match=f"expected features of {WIDTH} dimensions, got {WIDTH + 1}"):
        shown(router).scores(Query(wide.features, query().logits))


def test_the_state_has_no_row(router: Router) -> None:
    small, large = (router.learn(evidence(0, rows)) for rows in (60, 240))
    assert {name: t.shape for name, t in small.items()} == {name: t.shape for name, t in large.items()}
    assert CLASSES[0] == 3
