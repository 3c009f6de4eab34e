"""How sure each task's own head is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from continual.router.base import Evidence, Query, Stats, require_top


@dataclass(frozen=True)
class Entropy:
    """S_t = Σ_c p_tc log p_tc, the negative entropy of p_t = softmax(z_t(x)): one forward a task.

    The task inference of Wortsman et al. 2020 (SupSup, section 3.3) in its one-shot form. A head with more classes can
    be less sure: where tasks differ in their number, those with few are preferred, as in the source.
    """

    top: int = 1

    needs_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_top(self.top)

    def learn(self, evidence: Evidence) -> Stats:
        return {}

    def scores(self, known: Mapping[str, Stats], query: Query) -> Tensor:
        return torch.stack([-torch.special.entr(query.all_logits(task).softmax(1)).sum(1) for task in known], 1)
