"""Linear discriminant analysis on a stream: a mean a class, and one covariance for all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from continual.errors import ContinualError
from continual.method.base import Params
from continual.moments import Moments, joined, moments_of, shared_covariance
from continual.strategy.base import Closed, Memory, Stage


@dataclass(frozen=True)
class SLDA(Closed):
    """W = Λ μ, b = −½ μᵀ Λ μ, Λ the inverse of the shrunk covariance within classes (Hayes & Kanan 2020, eq. 2 to 4).

    Λ = ((1 − ε) Σ + ε s I)⁻¹. In the paper s = 1; here it is tr(Σ)/d, so that ε means the same at any scale of the
    features, and the division of the scatter by n − C in the place of n is a factor of all logits. The paper updates Σ
    row by row from the class mean of that moment; here the scatter is exact (``moments.joined``), so that neither the
    order of rows nor that of tasks matters, and there is no base set that Σ is first estimated on.

    The mean m of the class means is taken off first: W = Λ (μ − m), b = −½ (μ − m)ᵀ Λ (μ + m). That is a constant in
    the logits of a row, and in float32 keeps the digits that large means would take.
    """

    shrinkage: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.shrinkage <= 1:
            raise ContinualError(f"strategy.shrinkage must be above 0 and at most 1, got {self.shrinkage}")

    def gather(self, stage: Stage, features: Tensor, labels: Tensor) -> Memory:
        new = moments_of(features, labels, len(stage.task.labels))
        return dict(vars(joined(Moments(**stage.memory), new) if stage.memory else new))

    def solve(self, sums: Memory) -> Params:
        known = Moments(**sums)
        root = torch.linalg.cholesky(shared_covariance([known], self.shrinkage))
        middle = known.means[known.count > 0].mean(0)
        weight = torch.cholesky_solve((known.means - middle).T, root).T
        return {"weight": weight, "bias": -(weight * (known.means + middle)).sum(1) / 2}
