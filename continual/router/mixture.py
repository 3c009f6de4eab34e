"""Features and logits together: the default where the task is not given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from continual.errors import ContinualError
from continual.moments import Moments, directions, mahalanobis, moments
from continual.router.base import Evidence, Query, Stats, best, require_top


@dataclass(frozen=True)
class Mixture:
    """S_t = (d − D²_t)/√(2d) + (m_t − mean_t)/std_t for the ``top`` tasks of least D_t, and -inf for the others.

    D²_t is the squared Mahalanobis distance of the bare encoder's features to the task's nearest class mean
    (``moments.mahalanobis``), of x/‖x‖ where ``normalize``. m_t is the largest logit under the task's own module and
    head, mean_t and std_t its moments over the task's training rows. So a row costs one bare forward and ``top``
    forwards under modules, however many tasks there are; those then answer it together, weighted by P(t|x).

    Each term is standardised: a row's D² to its own class is χ² with d degrees of freedom where features are normal, of
    mean d and variance 2d. TPL (Lin et al. 2024) also combines a distance and the largest logit, each divided by its
    mean over the task's own training rows. Not so here for the distance: it has one unit in all tasks already, and a
    scale of each task's own makes routes worse (benchmarks/composition).
    """

    shrinkage: float = 0.1
    normalize: bool = True
    top: int = 2

    needs_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_top(self.top)
        if not 0 < self.shrinkage <= 1:
            raise ContinualError(f"router.shrinkage must be above 0 and at most 1, got {self.shrinkage}")

    def learn(self, evidence: Evidence) -> Stats:
        stats = dict(vars(moments(directions(evidence.features, self.normalize), evidence.labels)))
        largest = best(evidence.own_logits.double())
        spread = largest.std(correction=0)
        return {**stats, "logit_mean": largest.mean(), "logit_std": torch.where(spread > 0, spread, 1.0)}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        tasks = [Moments(s["count"], s["total"], s["scatter"]) for s in known.values()]
        squares = mahalanobis(directions(query.features, self.normalize), tasks, self.shrinkage)
        width = query.features.shape[1]
        near = (width - squares) / (2 * width) ** 0.5
        scores = torch.full_like(near, float("-inf"))
        chosen = near.topk(min(self.top, len(tasks)), 1).indices
        for index, (task, stats) in enumerate(known.items()):
            rows = (chosen == index).any(1).nonzero()[:, 0]
            if len(rows):
                sure = (best(query.logits_of(task, rows)) - stats["logit_mean"]) / stats["logit_std"]
                scores[rows, index] = near[rows, index] + sure
        return scores
