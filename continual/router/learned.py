"""A linear head over random features, learned from the stream without a row of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from continual.errors import ContinualError
from continual.moments import sum_of
from continual.router.base import Evidence, Query, Stats, require_top


@dataclass(frozen=True)
class Learned:
    """S_t = max_{c∈t} (h W)_c, with W = (Σ_t G_t + λ I)⁻¹ [Q_1 … Q_T]: ridge regression on the classes' one-hot codes.

    h = relu(x R / ‖x‖) are M random features, R (d, M) ~ N(0, 1) a function of ``seed``; G = hᵀh and Q = hᵀy are sums
    over a task's training rows, so the head over all classes of all tasks is learned exactly as if their rows were
    there together (RanPAC, McDonnell et al. 2023). λ = ``ridge`` · tr(G)/M: RanPAC chooses λ on rows that it holds out.
    Each task keeps its own G, (M, M), so that the sum over tasks can run in a fixed order.
    """

    features: int = 1024
    ridge: float = 0.01
    seed: int = 0
    top: int = 1

    needs_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_top(self.top)
        if self.features < 1:
            raise ContinualError(f"router.features must be at least 1, got {self.features}")
        if not 0 < self.ridge < float("inf"):
            raise ContinualError(f"router.ridge must be above 0, got {self.ridge}")

    def learn(self, evidence: Evidence) -> Stats:
        h = self._random(evidence.features)
        _, own = evidence.labels.unique(return_inverse=True)
        return {"gram": h.T @ h, "targets": torch.nn.functional.one_hot(own).to(h).T @ h}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        gram, targets = sum_of([s["gram"] for s in known.values()]), [s["targets"] for s in known.values()]
        scale = self.ridge * gram.trace() / len(gram)
        identity = torch.eye(len(gram), dtype=gram.dtype)
        root = torch.linalg.cholesky(gram + (scale if scale > 0 else 1.0) * identity)
        said = self._random(query.features) @ torch.cholesky_solve(torch.cat(targets).T, root)
        return torch.stack([own.max(1).values for own in said.split([len(t) for t in targets], 1)], 1)

    def _random(self, features: Tensor) -> Tensor:
        """(n, d) -> (n, M)."""
        rng = torch.Generator().manual_seed(self.seed)
        x = torch.nn.functional.normalize(features.double())
        return (x @ torch.randn(x.shape[1], self.features, generator=rng, dtype=torch.float64)).relu()
