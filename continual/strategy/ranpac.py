"""Ridge regression on random features of a frozen module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from continual.adapter import generator
from continual.errors import ContinualError
from continual.method.base import Params
from continual.moments import grown
from continual.strategy.base import Closed, Memory, Stage

CHUNK = 1024
"""Rows whose random features are held at once."""
RIDGES = tuple(10.0**k for k in range(-6, 4))


@dataclass(frozen=True)
class RanPAC(Closed):
    """W = C (G + λI)⁻¹ on φ(h) = relu(P h), G = Σ φ φᵀ and C = Σ y φᵀ over all rows so far (McDonnell et al. 2023).

    P (M, d) is drawn from N(0, 1), f(seed); y is one-hot; there is no bias. The module is trained on the first task.
    λ is that of ten powers of ten whose squared error is the least on a fifth of the task's training rows, f(seed,
    task), with W from the others of the task alone; then all rows count. So it is in the reference. There the powers
    are 10⁻⁸ to 10⁸, and all is in float32; here they are 10⁻⁶ to 10³ times the mean eigenvalue of the task's G, so that
    the scale of the features plays no part and G + λI can be factored. Sums and solution are in float64: but for λ,
    which is of the newest task, the head is the same in any order of rows and tasks.

    features  M; the paper has 10,000 on features of width 768
    """

    features: int = 2000

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ContinualError(f"strategy.features must be at least 1, got {self.features}")

    def gather(self, stage: Stage, features: Tensor, labels: Tensor) -> Memory:
        """Beside the sums "ridge" (1,), the λ of the task, and "projection" (M, d), drawn at the first."""
        outputs, known, drawn = len(stage.task.labels), stage.memory, generator(stage.seed, "projection")
        projection = known["projection"] if known else torch.randn(self.features, features.shape[1], generator=drawn)
        order = torch.randperm(len(labels), generator=generator(stage.seed, "ridge", stage.task.name))
        some = max(1, len(order) // 5)
        held, fit = (_sums(features[rows], labels[rows], projection, outputs) for rows in (order[:some], order[some:]))
        sums = {name: held[name] + fit[name] for name in held}
        if known:
            sums = {name: grown(known[name], len(tensor)) + tensor for name, tensor in sums.items()}
        return sums | {"ridge": _ridge(fit, held), "projection": projection}

    def solve(self, sums: Memory) -> Params:
        weight = _solution(sums, sums["ridge"])
        return {"projection": sums["projection"], "weight": weight, "bias": weight.new_zeros(len(weight))}


def _sums(features: Tensor, labels: Tensor, projection: Tensor, outputs: int) -> Memory:
    """Rows of each output "count" (C,), Σ φ φᵀ "gram" (M, M), Σ y φᵀ "total" (C, M)."""
    wide = projection.double()
    gram, total = wide.new_zeros(len(wide), len(wide)), wide.new_zeros(outputs, len(wide))
    for x, y in zip(features.split(CHUNK), labels.split(CHUNK), strict=True):
        phi = torch.relu(x.double() @ wide.T)
        gram += phi.T @ phi
        total.index_add_(0, y, phi)
    return {"count": labels.bincount(minlength=outputs).double(), "gram": gram, "total": total}


def _solution(sums: Memory, ridge: Tensor) -> Tensor:
    """(C, M): C (G + λI)⁻¹."""
    gram = sums["gram"]
    root = torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=gram.dtype))
    return torch.cholesky_solve(sums["total"].T, root).T


def _ridge(fit: Memory, held: Memory) -> Tensor:
    """(1,) the λ whose W from some rows is off least on others: Σ ‖W φ − y‖² = tr(W G Wᵀ) − 2 tr(W Cᵀ) + n.

    The powers are times the mean eigenvalue of the G of both.
    """
    scale = (fit["gram"] + held["gram"]).trace().reshape(1) / len(fit["gram"])
    scale = torch.where(scale > 0, scale, 1.0)
    ridges = [scale * ridge for ridge in RIDGES]
    errors = []
    for ridge in ridges:
        weight = _solution(fit, ridge)
        errors.append(float(((weight @ held["gram"] - 2 * held["total"]) * weight).sum()))
    return ridges[min(range(len(errors)), key=errors.__getitem__)]
