"""What was tried on held-out rows before the default was settled: routers with other options, and other routers.

The last four are not in the package: each is worse than what is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from continual.moments import Moments, directions, mahalanobis, moments, shared_covariance
from continual.router.base import Evidence, Query, Router, Stats, best
from continual.router.learned import Learned
from continual.router.mahalanobis import Mahalanobis
from continual.router.mixture import Mixture


@dataclass(frozen=True)
class MaxLogitScaled:
    """The largest logit, standardised on the task's own training rows."""

    top: int = 1
    needs_logits: ClassVar[bool] = True

    def learn(self, evidence: Evidence) -> Stats:
        largest = best(evidence.own_logits.double())
        return {"mean": largest.mean(), "std": largest.std(correction=0)}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        return torch.stack([(best(query.all_logits(t)) - s["mean"]) / s["std"] for t, s in known.items()], 1)


@dataclass(frozen=True)
class EachItsOwnScale:
    """The mixture with the distance, too, standardised on each task's own rows.

    Of −½ D² to a row's own class, exactly, from the task's scatter S_t: the mean is −½ tr(Σ⁻¹ S_t)/n_t; the variance,
    if features are normal, ½ tr((Σ⁻¹ S_t/n_t)²).
    """

    mixture: Mixture = field(default_factory=Mixture)
    logits: bool = True
    needs_logits: ClassVar[bool] = True

    @property
    def top(self) -> int:
        return self.mixture.top

    def learn(self, evidence: Evidence) -> Stats:
        return self.mixture.learn(evidence)

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        tasks = [Moments(s["count"], s["total"], s["scatter"]) for s in known.values()]
        x = directions(query.features, self.mixture.normalize)
        squares = mahalanobis(x, tasks, self.mixture.shrinkage)
        near = torch.stack([self._scaled(squares[:, t], task, tasks) for t, task in enumerate(tasks)], 1)
        if not self.logits:
            return near
        sure = [(best(query.all_logits(t)) - s["logit_mean"]) / s["logit_std"] for t, s in known.items()]
        far = torch.full_like(near, float("-inf")).scatter(1, near.topk(min(self.top, len(tasks)), 1).indices, 0.0)
        return near + torch.stack(sure, 1) + far

    def _scaled(self, squares: Tensor, task: Moments, tasks: list[Moments]) -> Tensor:
        ratio = torch.linalg.solve(shared_covariance(tasks, self.mixture.shrinkage), task.scatter) / task.count.sum()
        return (-squares / 2 + ratio.trace() / 2) / ((ratio @ ratio).trace() / 2).sqrt()


@dataclass(frozen=True)
class NearestDirection:
    """Nearest class mean of x/‖x‖."""

    top: int = 1
    needs_logits: ClassVar[bool] = False

    def learn(self, evidence: Evidence) -> Stats:
        return {"means": moments(directions(evidence.features, True), evidence.labels).means}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        x = directions(query.features, True)
        return torch.stack([-torch.cdist(x, s["means"]).amin(1).square() for s in known.values()], 1)


TRIED: dict[str, Router] = {
    **{f"mahalanobis shrinkage={s}": Mahalanobis(shrinkage=s) for s in (0.01, 0.3, 0.6, 1.0)},
    **{f"mahalanobis directions shrinkage={s}": Mahalanobis(s, normalize=True) for s in (0.01, 0.05, 0.1, 0.2, 0.6)},
    **{f"mixture shrinkage={s}": Mixture(shrinkage=s) for s in (0.01, 0.05, 0.2, 0.6)},
    **{f"mixture features shrinkage={s}": Mixture(s, normalize=False) for s in (0.1, 0.2, 0.6)},
    **{f"mixture top={k}": Mixture(top=k) for k in (1, 3, 5)},
    **{f"learned ridge={r}": Learned(ridge=r) for r in (0.001, 0.1, 1.0)},
    "each its own scale": EachItsOwnScale(),
    "each its own scale, distance alone": EachItsOwnScale(logits=False),
    "max_logit standardised": MaxLogitScaled(),
    "nearest direction": NearestDirection(),
}
