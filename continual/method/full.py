"""Full fine-tuning, as a module like any other."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.method.base import Params


@dataclass(frozen=True)
class Full:
    """Every weight W of the encoder becomes W + ΔW; what is trained and stored is the task vector ΔW (Ilharco 2023).

    Gradients, optimizer state and bytes are those of full fine-tuning. Weight decay pulls towards the pretrained
    weights rather than towards zero. The encoder's own tensors are never written to.
    """

    lr: ClassVar[float] = 1e-4
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "y"
    targets: ClassVar[tuple[str, ...]] = ()
    dropout: ClassVar[float] = 0.0

    def path(self) -> Hashable:
        return ("full",)

    def init_weights(self, weights: Mapping[str, Tensor]) -> Params:
        # Torch's parameter dictionaries refuse dots in names.
        return {name.replace(".", ":"): torch.zeros_like(tensor, device="cpu") for name, tensor in weights.items()}

    def weights(self, p: Params) -> dict[str, Tensor]:
        return {name.replace(":", "."): tensor for name, tensor in p.items()}
