"""Nearest class mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from continual.moments import moments, squared_distances
from continual.router.base import Evidence, Query, Stats, require_top


@dataclass(frozen=True)
class Nearest:
    """S_t = max_{c∈t} −‖x − μ_c‖², x the bare encoder's features and μ_c their mean over the training rows of class c.

    NCM of Rebuffi et al. 2017 (iCaRL, eq. 2) without its normalisation; SimpleCIL on a frozen encoder.
    """

    top: int = 1

    needs_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_top(self.top)

    def learn(self, evidence: Evidence) -> Stats:
        return {"means": moments(evidence.features, evidence.labels).means}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        x = query.features.double()
        return torch.stack([-squared_distances(x, stats["means"]).min(1).values for stats in known.values()], 1)
