"""Scores held against scikit-learn's own of the same thing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import entropy as shannon
from sklearn.cluster import KMeans as Lloyd
from sklearn.covariance import shrunk_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestCentroid

from continual.errors import ContinualError
from continual.moments import moments, shared_covariance
from continual.router.base import Evidence, Query, Router
from continual.router.energy import Energy
from continual.router.entropy import Entropy
from continual.router.kmeans import KMeans
from continual.router.learned import Learned
from continual.router.mahalanobis import Mahalanobis
from continual.router.max_logit import MaxLogit
from continual.router.mixture import Mixture
from continual.router.nearest import Nearest
from continual.router.oracle import Oracle

from .rows import CLASSES, NAMES, WIDTH, draw, evidence, head, query, said, shown

STARTS = np.cumsum([0, *CLASSES])


def pooled() -> tuple[np.ndarray, np.ndarray]:
    """All tasks' training rows together, their classes numbered through."""
    drawn = [draw(task, 40, seed=1) for task in range(3)]
    labels = [(y + int(STARTS[task])).numpy() for task, (_, y) in enumerate(drawn)]
    return np.concatenate([x.double().numpy() for x, _ in drawn]), np.concatenate(labels)


def best_per_task(scores: np.ndarray) -> np.ndarray:
    return np.stack([scores[:, a:b].max(1) for a, b in pairwise(STARTS)], 1)


def scores(router: Router) -> np.ndarray:
    return shown(router).scores(query()).numpy()


def test_nearest_has_the_distances_and_choices_of_nearest_centroid() -> None:
    model = NearestCentroid().fit(*pooled())
    x = query().features.double().numpy()
    distances = best_per_task(-(euclidean_distances(x, model.centroids_) ** 2))
    np.testing.assert_allclose(scores(Nearest()), distances, rtol=1e-9, atol=1e-9)
    chosen = np.searchsorted(STARTS, model.predict(x), side="right") - 1
    np.testing.assert_array_equal(scores(Nearest()).argmax(1), chosen)


@pytest.mark.parametrize("shrinkage", [0.05, 0.4, 1.0])
def test_the_shared_covariance_is_the_pooled_one_shrunk_as_scikit_learn_shrinks(shrinkage: float) -> None:
    x, y = pooled()
    centred = np.concatenate([x[y == c] - x[y == c].mean(0) for c in range(STARTS[-1])])
    wanted = shrunk_covariance(centred.T @ centred / (len(x) - STARTS[-1]), shrinkage=shrinkage)
    tasks = [moments(*draw(task, 40, seed=1)) for task in range(3)]
    np.testing.assert_allclose(shared_covariance(tasks, shrinkage).numpy(), wanted, rtol=1e-10, atol=1e-12)


def test_mahalanobis_is_linear_discriminant_analysis_with_equal_priors_up_to_a_constant_of_the_row() -> None:
    x, y = pooled()
    priors = np.full(STARTS[-1], 1 / STARTS[-1])
    # Its covariance has n below the line, and ours n - C: shrunk to the same, the distances differ by that factor.
    model = LinearDiscriminantAnalysis(solver="lsqr", priors=priors, covariance_estimator=Pooled(x, y, 0.1)).fit(x, y)
    wanted = best_per_task(model.decision_function(query().features.double().numpy()))
    found = scores(Mahalanobis(shrinkage=0.1))
    np.testing.assert_allclose(found - found[:, :1], wanted - wanted[:, :1], rtol=1e-7, atol=1e-7)


class Pooled:
    """The covariance within classes, for scikit-learn, whatever part of the rows it fits."""

    def __init__(self, x: np.ndarray, y: np.ndarray, shrinkage: float) -> None:
        self.x, self.y, self.shrinkage = x, y, shrinkage

    def fit(self, part: np.ndarray) -> Pooled:
        centred = np.concatenate([self.x[self.y == c] - self.x[self.y == c].mean(0) for c in np.unique(self.y)])
        whole = centred.T @ centred / (len(self.x) - len(np.unique(self.y)))
        self.covariance_ = shrunk_covariance(whole, shrinkage=self.shrinkage)
        return self


def test_directions_are_what_mahalanobis_would_be_on_unit_vectors() -> None:
    def unit(x: torch.Tensor) -> torch.Tensor:
        return x.double() / x.double().norm(dim=1, keepdim=True)

    known, stretched = Mahalanobis(normalize=True), Mahalanobis()
    given = {name: known.learn(evidence(task)) for task, name in enumerate(NAMES)}
    own = {
        name: stretched.learn(Evidence(unit(evidence(task).features), evidence(task).labels))
        for task, name in enumerate(NAMES)
    }
    x = query().features
    torch.testing.assert_close(known.scores(given, query()), stretched.scores(own, Query(unit(x), said(x))))


def test_kmeans_has_the_centroids_of_lloyds_algorithm() -> None:
    x = query().features.double().numpy()
    columns = []
    for task in range(3):
        fit = Lloyd(5, n_init=4, random_state=0).fit(draw(task, 40, seed=1)[0].double().numpy())
        columns.append(-(fit.transform(x) ** 2).min(1))
    np.testing.assert_allclose(scores(KMeans()), np.stack(columns, 1), rtol=1e-8, atol=1e-8)


def test_logit_routers_are_their_formulas() -> None:
    x = query().features
    logits = [(x @ head(task)).double().numpy() for task in range(3)]
    wanted = {
        MaxLogit(): [z.max(1) for z in logits],
        Energy(): [logsumexp(z, axis=1) for z in logits],
        Entropy(): [-shannon(np.exp(z - logsumexp(z, axis=1)[:, None]), axis=1) for z in logits],
    }
    for router, columns in wanted.items():
        np.testing.assert_allclose(scores(router), np.stack(columns, 1), rtol=1e-9, atol=1e-12)


def test_learned_is_ridge_regression_on_all_rows_together() -> None:
    router = Learned(features=32, ridge=0.05)
    x, y = pooled()
    h = router._random(torch.from_numpy(x)).numpy()
    alpha = 0.05 * np.trace(h.T @ h) / 32
    model = Ridge(alpha=alpha, fit_intercept=False, solver="cholesky").fit(h, np.eye(STARTS[-1])[y])
    wanted = best_per_task(model.predict(router._random(query().features).numpy()))
    np.testing.assert_allclose(scores(router), wanted, rtol=1e-7, atol=1e-9)


def test_the_mixture_is_the_sum_of_two_standardised_scores_over_the_nearest_tasks() -> None:
    distance = -2 * scores(Mahalanobis(shrinkage=0.1, normalize=True))
    near = (WIDTH - distance) / np.sqrt(2 * WIDTH)
    own = [evidence(task).own_logits.double().numpy().max(1) for task in range(3)]
    x = query().features
    sure = np.stack([((x @ head(t)).double().numpy().max(1) - own[t].mean()) / own[t].std() for t in range(3)], 1)
    for top in (1, 2, 3):
        found = scores(Mixture(top=top))
        chosen = np.argsort(-near, 1)[:, :top]
        wanted = np.full_like(near, -np.inf)
        np.put_along_axis(wanted, chosen, np.take_along_axis(near + sure, chosen, 1), 1)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_mixture_asks_modules_for_its_candidates_alone() -> None:
    asked: list[int] = []
    rows = query()

    def counting(task: str, some: torch.Tensor) -> torch.Tensor:
        asked.append(len(some))
        return rows.logits(task, some)

    known = shown(Mixture(top=2))
    known.scores(Query(rows.features, counting))
    assert sum(asked) == 2 * len(rows.features)


def test_a_query_of_nothing_is_less_like_any_task_than_one_of_a_task() -> None:
    far = 30 * torch.nn.functional.normalize(torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(5)))
    for router in (Nearest(), KMeans(), Mahalanobis()):
        known = shown(router)
        inside, outside = (known.scores(Query(x, said(x))).amax(1) for x in (query().features, far))
        assert float((inside[:, None] > outside).double().mean()) > 0.95


def test_the_oracle_must_be_told() -> None:
    with pytest.raises(ContinualError, match="must be told the task of each row"):
        shown(Oracle()).scores(Query(query().features, said(query().features)))
    stray = Query(torch.zeros(2, WIDTH), said(torch.zeros(2, WIDTH)), torch.tensor([1, -1]))
    assert shown(Oracle()).scores(stray).tolist() == [[float("-inf"), 0.0, float("-inf")], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Mahalanobis(shrinkage=0.0), "router.shrinkage must be above 0 and at most 1, got 0.0"),
        (lambda: Mixture(shrinkage=1.5), "router.shrinkage must be above 0 and at most 1, got 1.5"),
        (lambda: KMeans(clusters=0), "router.clusters must be at least 1, got 0"),
        (lambda: KMeans(seed=-1), "router.seed must be from 0"),
        (lambda: Learned(features=0), "router.features must be at least 1, got 0"),
        (lambda: Learned(ridge=0.0), "router.ridge must be above 0, got 0.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, says: str) -> None:
    with pytest.raises(ContinualError, match=says):
        make()


def test_a_router_of_logits_says_that_a_task_has_none() -> None:
    x, labels = draw(0, 10, seed=1)
    with pytest.raises(ContinualError, match="reads logits of classes, and the task's head gives none"):
        Mixture().learn(Evidence(x, labels))
