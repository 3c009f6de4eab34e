"""Full fine-tuning, as a module like any other."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.method.base import Params, in_layers


@dataclass(frozen=True)
class Full:
    """Every weight W of the encoder becomes W + ΔW; what is trained and stored is the task vector ΔW (Ilharco 2023).

    Gradients, optimizer state and bytes are those of full fine-tuning. Weight decay pulls towards the pretrained
    weights rather than towards zero. The encoder's own tensors are never written to. Limited to ``layers``, the
    embeddings and what follows the last layer stay as they are.
    """

    layers: str | None = None

    lr: ClassVar[float] = 1e-4
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "y"
    targets: ClassVar[tuple[str, ...]] = ()
    dropout: ClassVar[float] = 0.0

    def path(self) -> Hashable:
        return ("full",)

    def init_weights(self, weights: Mapping[str, Tensor], seed: int) -> Params:
        # Torch's parameter dictionaries refuse dots in names.
        chosen = in_layers(weights, self.layers)
        return {name.replace(".", ":"): torch.zeros_like(weights[name], device="cpu") for name in chosen}

    def changed(self, p: Params, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = {key: key.replace(":", ".") for key in p}
        return {name: weights[name] + p[key] for key, name in names.items()}
