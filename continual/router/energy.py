"""The energy of each task's own head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from continual.router.base import Evidence, Query, Stats, require_top


@dataclass(frozen=True)
class Energy:
    """S_t = log Σ_c exp z_tc(x), the negative energy (Liu et al. 2020, eq. 4, T = 1): one forward a task."""

    top: int = 1

    needs_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_top(self.top)

    def learn(self, evidence: Evidence) -> Stats:
        return {}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        return torch.stack([query.all_logits(task).logsumexp(1) for task in known], 1)
