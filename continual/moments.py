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
    """Of some rows: n_c, Σ x and Σ_c Σ_{x∈c} (x − μ_c)(x − μ_c)ᵀ.

    The scatter is taken about the class means at once, not as Σ x xᵀ − n μ μᵀ, which loses digits where means are
    large.
    """

    count: Tensor  # (C,)
    total: Tensor  # (C, d)
    scatter: Tensor  # (d, d)

    @property
    def means(self) -> Tensor:
        """(C, d); 0 of a class without a row."""
        return self.total / self.count.clamp_min(1)[:, None]


def moments(features: Tensor, labels: Tensor) -> Moments:
    """Of (n, d) features and their (n,) classes; those without a row are left out."""
    found, own = labels.unique(return_inverse=True)
    return moments_of(features, own, len(found))


def moments_of(features: Tensor, labels: Tensor, classes: int) -> Moments:
    """The same of the classes 0 … C − 1, whether they have rows or not."""
    x = features.double()
    count = labels.bincount(minlength=classes).double()
    total = x.new_zeros(classes, x.shape[1]).index_add(0, labels, x)
    centred = x - (total / count.clamp_min(1)[:, None])[labels]
    return Moments(count, total, centred.T @ centred)


def joined(known: Moments, new: Moments) -> Moments:
    """Of the rows of both. Class c of one is class c of the other, and ``new`` may have more of them.

    S = S_a + S_b + Σ_c n_a n_b / (n_a + n_b) · δ δᵀ with δ = μ_a − μ_b (Chan et al. 1979): up to rounding what
    ``moments_of`` gives for all rows at once, in whatever order they came.
    """
    classes = len(new.count)
    a = Moments(grown(known.count, classes), grown(known.total, classes), known.scatter)
    weight = a.count * new.count / (a.count + new.count).clamp_min(1)
    apart = a.means - new.means
    between = (weight[:, None] * apart).T @ apart
    return Moments(a.count + new.count, a.total + new.total, a.scatter + new.scatter + between)


def grown(tensor: Tensor, size: int) -> Tensor:
    """With zeros behind the first axis, up to ``size`` of them."""
    return torch.cat([tensor, tensor.new_zeros(size - len(tensor), *tensor.shape[1:])])


def shared_covariance(tasks: Sequence[Moments], shrinkage: float) -> Tensor:
    """(d, d): Σ = (1 − λ) S/(n − C) + λ tr(S/(n − C))/d · I, with S the scatter within the classes of all tasks.

    Where there is no scatter (one row a class), I.
    """
    scatter = sum_of([task.scatter for task in tasks])
    rows = sum_of([(task.count - 1).clamp_min(0).sum() for task in tasks])
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
