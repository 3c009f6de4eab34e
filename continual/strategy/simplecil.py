"""Class means as a head: nothing is learned but where the rows of a class lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from continual.method.base import Params
from continual.moments import grown
from continual.strategy.base import Closed, Memory, Stage


@dataclass(frozen=True)
class SimpleCIL(Closed):
    """W_c = μ_c / ‖μ_c‖ with μ_c the mean feature of the class, and no bias (Zhou et al. 2023, SimpleCIL).

    The paper answers by the largest cosine of feature and prototype. The length of a row's own feature divides all of
    its logits alike, so W h has the same largest one. Sums are kept in float64 and added up task by task: the means
    are those of all rows at once, in any order. With ``method=head`` it is SimpleCIL on the bare encoder; with a
    module, which is trained on the first task, it is what the paper calls ADAM, without the bare features beside
    those of the module.
    """

    def gather(self, stage: Stage, features: Tensor, labels: Tensor) -> Memory:
        x, outputs, known = features.double(), len(stage.task.labels), stage.memory
        count = labels.bincount(minlength=outputs).double()
        total = x.new_zeros(outputs, x.shape[1]).index_add(0, labels, x)
        if known:
            count, total = count + grown(known["count"], outputs), total + grown(known["total"], outputs)
        return {"count": count, "total": total}

    def solve(self, sums: Memory) -> Params:
        weight = torch.nn.functional.normalize(sums["total"])  # the sum has the direction of the mean
        return {"weight": weight, "bias": weight.new_zeros(len(weight))}
