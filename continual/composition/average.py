"""The average of stored adapters' outputs, with fixed weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.composition.base import Mixer, require_members
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.parts import Parts
from continual.encoder.site import Site
from continual.errors import ContinualError


class _Mean(Mixer):
    """delta = Σ_n w_n z_n, w given and of sum one over all modules."""

    kind: ClassVar[Literal["attention", "gate", "fixed"]] = "fixed"
    given: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("given", weights, persistent=False)  # the composition's arguments say what they are

    def weights(self, x: Tensor, y: Tensor, mask: Tensor, parts: Parts) -> Tensor:
        return self.given.expand(len(y), 1, -1)


@dataclass(frozen=True)
class Average:
    """y + Σ_n w_n z_n over the modules of the stream. Trains the target's head alone.

    ``weights`` has a number for each module, made to sum to one; () weighs all the same. Where a module has nothing at
    a site its output there is the encoder's own, so the others count less. `adapters` 1.3.0 takes ``torch.mean`` of
    outputs that it has already weighted with a sum of one: what it gives, the residual included, is 1/N of the average.
    """

    weights: tuple[float, ...] = ()
    lr: float | None = None
    epochs: int | None = None

    sources: ClassVar[Literal["stream", "target"]] = "stream"

    def __post_init__(self) -> None:
        if self.weights and not 0 < sum(self.weights) < float("inf"):
            raise ContinualError(f"composition.average.weights must have a sum above 0, got {list(self.weights)}")

    @property
    def methods(self) -> tuple[str, ...]:
        """None beyond those of the stream."""
        return ()

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        """Raises ContinualError for another number of weights than of adapters, and as ``require_members``."""
        require_members("average", adapters)
        weights = self.weights or (1.0,) * len(adapters)
        if len(weights) != len(adapters):
            raise ContinualError(
                f"composition.average.weights has {len(weights)} numbers; expected one for each of "
                f"{len(adapters)} modules, or none to weigh all the same"
            )
        model.load(adapters)

        def mean(site: Site) -> Mixer:
            own = [weights[member] / sum(weights) for member in site.members]
            return _Mean(torch.tensor(own, dtype=torch.float64))

        model.mix(mean)

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        return 0.0
