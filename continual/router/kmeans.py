"""Nearest of a few centroids per task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from sklearn.cluster import KMeans as Lloyd
from torch import Tensor

from continual.errors import ContinualError
from continual.moments import squared_distances
from continual.router.base import Evidence, Query, Stats, require_top


@dataclass(frozen=True)
class KMeans:
    """S_t = max_{k} −‖x − m_tk‖², m_t1 … m_tK the K-means centroids of the task's training features; labels unused.

    S-Prompts (Wang et al. 2022, section 3.3; K = 5). Lloyd's algorithm of scikit-learn, the best of four starts that
    ``seed`` gives; a task with fewer distinct rows than K has as many centroids as rows.
    """

    clusters: int = 5
    seed: int = 0
    top: int = 1

    needs_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_top(self.top)
        if self.clusters < 1:
            raise ContinualError(f"router.clusters must be at least 1, got {self.clusters}")
        if not 0 <= self.seed < 2**32:
            raise ContinualError(f"router.seed must be from 0 to 4294967295, got {self.seed}")

    def learn(self, evidence: Evidence) -> Stats:
        x = evidence.features.double()
        count = min(self.clusters, len(x.unique(dim=0)))
        found = Lloyd(count, n_init=4, random_state=self.seed).fit(x.numpy())  # type: ignore[arg-type]
        return {"centroids": torch.from_numpy(found.cluster_centers_)}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        x = query.features.double()
        return torch.stack([-squared_distances(x, stats["centroids"]).min(1).values for stats in known.values()], 1)
