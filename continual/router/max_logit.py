"""The largest logit of each task's own head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from continual.router.base import Evidence, Query, Stats, best, require_top


@dataclass(frozen=True)
class MaxLogit:
    """S_t = max_c z_tc(x), z_t the logits of x under the module and head of task t: one forward a task.

    MLS of Hendrycks et al. 2022; nothing is kept of a task, and nothing puts the heads' logits on one scale.
    """

    top: int = 1

    needs_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_top(self.top)

    def learn(self, evidence: Evidence) -> Stats:
        return {}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        return torch.stack([best(query.all_logits(task)) for task in known], 1)
