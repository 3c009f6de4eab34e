"""What a method is: a pure way of changing a frozen layer's output. Files of this folder are the methods."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from continual.types import Shape

Params = dict[str, Tensor]
"""One adapter at one site. Stacked: every tensor with a leading axis, one slot per adapter."""


class Described(Protocol):
    """What every method says of itself.

    targets   names of the sites it acts on; ``()`` for a method that acts on none, or on the weights themselves
    dropout   probability used on what the method reads, in training only; the site applies it
    lr        learning rate used where the optimizer names none; chosen on a 6-layer encoder, larger ones want less
    fixed     parameters that are stored and stacked but never trained
    reads     "x", the site's input, or "y", its output: what the function depends on, and what a gate over it reads
    """

    lr: ClassVar[float]
    fixed: ClassVar[tuple[str, ...]]
    reads: ClassVar[Literal["x", "y"]]

    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def dropout(self) -> float: ...
    def path(self) -> Hashable:
        """Adapters with equal paths run the same code: they share one stack, whatever their ranks and scales."""
        ...


@runtime_checkable
class Method(Described, Protocol):
    """A delta at a site: no state, no randomness, no knowledge of batches of adapters."""

    def init(self, shape: Shape, rng: torch.Generator) -> Params:
        """Fresh parameters for a site of this shape, with delta = 0."""
        ...

    def delta(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        """(…, T, d_in), (…, T, d_out) -> (…, T, d_out)."""
        ...


@runtime_checkable
class LowRank(Method, Protocol):
    """A method with ``delta = code · upᵀ + bias``: composition can then work on codes, in rank space.

    ``coded`` names the parameters that ``code`` reads; the first axis of each is the rank, so that the codes of N
    adapters are the code of one adapter whose parameters are theirs, one below the other.
    """

    coded: ClassVar[tuple[str, ...]]

    def code(self, p: Params, x: Tensor, y: Tensor) -> Tensor:
        """(…, T, d_in), (…, T, d_out) -> (…, T, r)."""
        ...

    def up(self, p: Params) -> tuple[Tensor, Tensor | None]:
        """(d_out, r) and (d_out,), or None where there is no bias."""
        ...


@runtime_checkable
class WeightMethod(Described, Protocol):
    """A change of the encoder's weights themselves: applied functionally, one adapter at a time."""

    def init_weights(self, weights: Mapping[str, Tensor]) -> Params:
        """Fresh parameters for an encoder with these weights."""
        ...

    def weights(self, p: Params) -> dict[str, Tensor]:
        """{name of the encoder's parameter: what is added to it}."""
        ...
