"""Heads in closed form against scikit-learn; task by task against all rows at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from continual.adapter import generator
from continual.closed import NEVER, computed
from continual.errors import ContinualError
from continual.head.classify import Classify
from continual.method.base import Params
from continual.strategy import ranpac
from continual.strategy.base import Closed, Memory, Stage
from continual.strategy.ranpac import RanPAC
from continual.strategy.simplecil import SimpleCIL
from continual.strategy.slda import SLDA
from continual.stream.base import Task

ALL = [SimpleCIL(), SLDA(shrinkage=0.1), RanPAC(features=24)]
KINDS = [type(strategy).__name__ for strategy in ALL]
each = pytest.mark.parametrize("strategy", ALL, ids=KINDS)
CLASSES, WIDTH = 6, 8


def drawn(rows: int = 120, classes: int = CLASSES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Overlapping classes, as many rows of each, far from the origin."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % classes
    means = torch.randn(classes, WIDTH, generator=rng)
    mixed = torch.randn(WIDTH, WIDTH, generator=rng)
    return 3 + means[labels] + torch.randn(rows, WIDTH, generator=rng) @ mixed, labels


def stage(outputs: int, memory: Memory | None = None, name: str = "t") -> Stage:
    task = Task(name, tuple(map(str, range(outputs))), (), (), ())
    return Stage((task,), (), memory or {}, encode=None, bare=None, seed=0, one_head=True)  # type: ignore[arg-type]


def logits(head: Params, features: Tensor) -> Tensor:
    return Classify().logits(head, features.to(head["weight"]), torch.ones(0))


def told(strategy: Closed, features: Tensor, labels: Tensor, parts: list[Tensor]) -> tuple[Params, Memory]:
    """Task after task, each of the rows of a part; outputs are there from the first row of theirs on."""
    head, sums, outputs = {}, {}, 0
    for number, rows in enumerate(parts):
        outputs = max(outputs, 1 + int(labels[rows].max()))
        head, sums = computed(strategy, stage(outputs, sums, f"t{number}"), features[rows], labels[rows])
    return head, sums


def test_simplecil_answers_by_the_largest_cosine_to_a_class_mean() -> None:
    features, labels = drawn()
    new, _ = drawn(seed=1)
    head, _ = computed(SimpleCIL(), stage(CLASSES), features, labels)
    means = np.stack([features[labels == c].numpy().mean(0) for c in range(CLASSES)])
    cosine = cosine_similarity(new.numpy(), means)
    found = logits(head, new) / new.norm(dim=1, keepdim=True)
    assert np.allclose(found.numpy(), cosine, atol=1e-6)
    assert len(set(cosine.argmax(1))) > 1


@pytest.mark.parametrize("shrinkage", [1e-4, 0.1, 1.0])
def test_slda_is_linear_discriminant_analysis_with_equal_priors(shrinkage: float) -> None:
    features, labels = drawn()
    new, _ = drawn(seed=1)
    head, _ = computed(SLDA(shrinkage=shrinkage), stage(CLASSES), features, labels)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[1 / CLASSES] * CLASSES)
    oracle.fit(features.double().numpy(), labels.numpy())
    wanted = oracle.decision_function(new.double().numpy())
    found = (
        logits(head, new).double().numpy() * len(features) / (len(features) - CLASSES)
    )  # S/n in the place of S/(n-C)
    differences = wanted - wanted.mean(1, keepdims=True)
    assert np.allclose(
        found - found.mean(1, keepdims=True), differences, rtol=1e-4, atol=1e-4 * np.abs(differences).max()
    )
    assert (found.argmax(1) == oracle.predict(new.double().numpy())).all()


def test_slda_keeps_its_digits_where_means_are_large() -> None:
    features, labels = drawn()
    near, far = (computed(SLDA(shrinkage=0.1), stage(CLASSES), x, labels)[0] for x in (features, features + 1000))
    apart = [logits(near, features), logits(far, features + 1000)]
    apart = [x - x.mean(1, keepdim=True) for x in apart]
    assert torch.allclose(*apart, atol=0.02 * float(apart[0].abs().max()))


def test_ranpac_is_ridge_regression_on_random_features() -> None:
    features, labels = drawn()
    head, sums = computed(RanPAC(features=24), stage(CLASSES), features, labels)
    wide = np.maximum(features.double().numpy() @ head["projection"].double().numpy().T, 0)
    targets = np.eye(CLASSES)[labels.numpy()]
    oracle = Ridge(alpha=float(sums["ridge"]), fit_intercept=False, solver="cholesky").fit(wide, targets)
    assert np.allclose(head["weight"].numpy(), oracle.coef_, rtol=1e-4, atol=1e-6)
    assert np.allclose(logits(head, features).numpy(), oracle.predict(wide), atol=1e-4)
    assert not head["bias"].any()


def test_ranpacs_ridge_is_that_with_the_least_error_on_a_fifth_of_the_tasks_rows() -> None:
    features, labels = drawn()
    head, sums = computed(RanPAC(features=24), stage(CLASSES), features, labels)
    wide = np.maximum(features.double().numpy() @ head["projection"].double().numpy().T, 0)
    targets = np.eye(CLASSES)[labels.numpy()]
    order = torch.randperm(120, generator=generator(0, "ridge", "t")).numpy()
    held, fit = order[:24], order[24:]
    scale = np.square(wide).sum() / 24
    errors = {}
    for ridge in ranpac.RIDGES:
        oracle = Ridge(alpha=ridge * scale, fit_intercept=False, solver="cholesky").fit(wide[fit], targets[fit])
        errors[ridge] = np.square(oracle.predict(wide[held]) - targets[held]).sum()
    best = min(errors, key=errors.__getitem__)
    assert ranpac.RIDGES[0] < best < ranpac.RIDGES[-1]
    assert float(sums["ridge"]) == pytest.approx(best * scale)


def test_random_features_are_drawn_once_and_summed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = drawn()
    head, sums = computed(RanPAC(features=24), stage(CLASSES), features, labels)
    later, _ = computed(RanPAC(features=24), replace(stage(CLASSES, sums), seed=1), features, labels)
    assert torch.equal(later["projection"], head["projection"])
    assert head["projection"].shape == (24, WIDTH)
    assert float(head["projection"].std()) == pytest.approx(1, abs=0.2)
    monkeypatch.setattr(ranpac, "CHUNK", 7)
    chunked, _ = computed(RanPAC(features=24), stage(CLASSES), features, labels)
    assert torch.allclose(chunked["weight"], head["weight"], atol=1e-6)


@each
@pytest.mark.parametrize("shared", [False, True], ids=["new classes", "shared classes"])
def test_task_by_task_in_any_order_is_all_rows_at_once(strategy: Closed, shared: bool) -> None:
    """Of RanPAC all but λ, which is that of the last task."""
    features, labels = drawn()
    owner = torch.arange(120) % 5 % 3 if shared else labels // 2
    parts = [(owner == task).nonzero()[:, 0] for task in range(3)]
    _, whole = told(strategy, features, labels, [torch.arange(120)])
    for order in permutations(parts):
        _, sums = told(strategy, features, labels, list(order))
        assert sums.keys() == whole.keys()
        for name in sums.keys() - {"ridge"}:
            assert torch.allclose(sums[name], whole[name], rtol=1e-12, atol=1e-10), name
        same = {
            name: strategy.solve(known | {"ridge": torch.ones(1).double()} if "ridge" in known else known)
            for name, known in (("sums", sums), ("whole", whole))
        }
        for name in same["whole"]:
            assert torch.allclose(same["sums"][name], same["whole"][name], rtol=1e-9, atol=1e-9), name


@each
def test_a_class_without_a_training_row_is_never_answered(strategy: Closed) -> None:
    features, labels = drawn(classes=3)
    labels = labels + (labels >= 1).long()  # none is 1
    head, _ = computed(strategy, stage(5), features, labels)
    found = logits(head, 100 * torch.randn(500, WIDTH))
    alone, _ = computed(strategy, stage(3), features, labels - (labels >= 2).long())
    assert torch.allclose(head["weight"][[0, 2, 3]], alone["weight"], rtol=1e-5, atol=1e-6)
    assert torch.allclose(head["bias"][[0, 2, 3]], alone["bias"], rtol=1e-5, atol=1e-6)
    assert head["bias"][[1, 4]].tolist() == [NEVER, NEVER]
    assert set(found.argmax(1).tolist()) <= {0, 2, 3}
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in head.values())


@pytest.mark.parametrize("rows", [1, 2, 3])
@each
def test_a_row_a_class_is_enough(strategy: Closed, rows: int) -> None:
    features, labels = drawn(rows=rows, classes=rows)
    head, _ = computed(strategy, stage(rows), features, labels)
    assert all(tensor.isfinite().all() for tensor in head.values())


def test_options_that_mean_nothing_are_refused() -> None:
    for shrinkage in (0.0, 1.1):
        with pytest.raises(ContinualError, match=f"above 0 and at most 1, got {shrinkage}"):
            SLDA(shrinkage=shrinkage)
    with pytest.raises(ContinualError, match="at least 1, got 0"):
        RanPAC(features=0)
