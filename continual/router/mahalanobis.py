"""Mahalanobis distance with one covariance for all classes of all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from continual.errors import ContinualError
from continual.moments import Moments, directions, mahalanobis, moments
from continual.router.base import Evidence, Query, Stats, require_top


@dataclass(frozen=True)
class Mahalanobis:
    """S_t = max_{c∈t} −½ (x − μ_c)ᵀ Σ⁻¹ (x − μ_c), x the bare encoder's features.

    Σ is pooled within the classes of all tasks and shrunk towards a multiple of I (``moments.shared_covariance``): up
    to a constant the log-density of linear discriminant analysis with equal priors (Lee et al. 2018; EPI, Wang et al.
    2023). Each task keeps a (d, d) scatter of its own, so that the sum over tasks can run in a fixed order: the scores
    are bit for bit the same whatever the order in which tasks came. EPI keeps a running mean of per-task covariances
    and inverts it with a pseudo-inverse; weighted by rows and shrunk, it is always invertible. ``normalize`` takes
    directions, x/‖x‖, in the features' place.
    """

    shrinkage: float = 0.1
    normalize: bool = False
    top: int = 1

    needs_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_top(self.top)
        if not 0 < self.shrinkage <= 1:
            raise ContinualError(f"router.shrinkage must be above 0 and at most 1, got {self.shrinkage}")

    def learn(self, evidence: Evidence) -> Stats:
        return dict(vars(moments(directions(evidence.features, self.normalize), evidence.labels)))

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        tasks = [Moments(**stats) for stats in known.values()]
        return -mahalanobis(directions(query.features, self.normalize), tasks, self.shrinkage) / 2
