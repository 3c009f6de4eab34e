"""Sums of feature vectors by class, and what follows from them: means, a shared covariance, distances. In float64.

The sums of a task are a function of its own rows, and are kept apart from those of other tasks. What is computed over
several tasks adds them up in the order in which they are given, so the same order gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Of one task: n_c, Σ x and Σ_c Σ_{x∈c} (x − μ_c)(x − μ_c)ᵀ. Classes without a row are left out.

    The scatter is taken about the class means at once, not as Σ x xᵀ − n μ μᵀ, which loses digits where means are
    large.
    """

    count: Tensor  # (C,)
    total: Tensor  # (C, d)
    scatter: Tensor  # (d, d)

    @property
    def means(self) -> Tensor:
        """(C, d)."""
        return self.total / self.count[:, None]


def moments(features: Tensor, labels: Tensor) -> Moments:
    """Of (n, d) features and their (n,) classes."""
    x = features.double()
    _, own, count = labels.unique(return_inverse=True, return_counts=True)
    total = x.new_zeros(len(count), x.shape[1]).index_add(0, own, x)
    centred = x - (total / count[:, None])[own]
    return Moments(count.double(), total, centred.T @ centred)


def shared_covariance(tasks: Sequence[Moments], shrinkage: float) -> Tensor:
    """(d, d): Σ = (1 − λ) S/(n − C) + λ tr(S/(n − C))/d · I, with S the scatter within the classes of all tasks.

    Where there is no scatter (one row a class), I.
    """
    scatter = sum_of([task.scatter for task in tasks])
    rows = sum_of([task.count.sum() - len(task.count) for task in tasks])
    width = len(scatter)
    identity = torch.eye(width, dtype=scatter.dtype)
    scale = scatter.trace() / width
    if scale <= 0:
        return identity
    return ((1 - shrinkage) * scatter + shrinkage * scale * identity) / rows


def mahalanobis(features: Tensor, tasks: Sequence[Moments], shrinkage: float) -> Tensor:
    """(n, d) -> (n, T) min_{c∈t} (x − μ_c)ᵀ Σ⁻¹ (x − μ_c), Σ the shared covariance.

    With Σ = L Lᵀ it is the Euclidean distance of L⁻¹ x to the nearest of the L⁻¹ μ_c.
    """
    root = torch.linalg.cholesky(shared_covariance(tasks, shrinkage))

    def white(x: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(root, x.T, upper=False).T

    x = white(features.double())
    return torch.stack([squared_distances(x, white(task.means)).min(1).values for task in tasks], 1)


def squared_distances(features: Tensor, means: Tensor) -> Tensor:
    """(n, d), (C, d) -> (n, C): ‖x − μ_c‖², each row by itself: a batch's other rows move no bit of it."""
    return torch.cdist(features, means, compute_mode="donot_use_mm_for_euclid_dist").square()


def directions(features: Tensor, normalize: bool) -> Tensor:
    """x/‖x‖ in float64 where ``normalize``, else x; 0 stays 0."""
    return torch.nn.functional.normalize(features.double()) if normalize else features.double()


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """From the first to the last."""
    total = torch.zeros_like(tensors[0])
    for tensor in tensors:
        total = total + tensor
    return total
