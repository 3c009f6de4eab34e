"""What a method is: a pure way of changing a frozen layer's output. Files of this folder are the methods."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from continual.errors import ContinualError
from continual.types import Shape

Params = dict[str, Tensor]
"""One adapter at one site. Stacked: every tensor with a leading axis, one slot per adapter."""


class Described(Protocol):
    """What every method says of itself.

    targets   names of the sites it acts on; ``()`` for a method that acts on none, or on the weights themselves
    layers    the layers it is limited to, as ``layers_in`` reads them ("4-"); None: all
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
    def layers(self) -> str | None: ...
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
class Fused(Method, Protocol):
    """A method that adds its delta in fewer passes over memory than forming it would take."""

    def onto(self, p: Params, base: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """base + delta(p, x, y)."""
        ...


@runtime_checkable
class Foldable(Method, Protocol):
    """A method that can be merged into a module's own weights, because y + delta is affine in what the module reads.

    ``weight`` and ``bias`` are those of a module alone, y = W x + b: (d_out, d_in) and (d_out,) of a linear, or (d,)
    twice of a norm, which scales its normed x. Nothing is written to; what is given back may be what was given. Where
    x is not what the module reads (``Place.reads``), and inside a norm (``Place.how`` "norm"), nothing can be folded.
    """

    def fold(self, p: Params, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """At a site that adds: the weight and bias with which the module alone gives y + delta(x, y).

        Raises ContinualError where the method has no such weights for a norm.
        """
        ...

    def fold_input(self, p: Params, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """At a site that changes a linear's input: those with which it alone gives W (x + delta(x, x)) + b."""
        ...


@runtime_checkable
class AttentionMethod(Described, Protocol):
    """Keys and values that every token attends to, besides the tokens' own. Not a delta: it cannot be zero.

    ``sized`` names a parameter whose first axis is P, the number of columns. In a stack that axis may be zero-padded:
    what is beyond a slot's own is never attended.
    """

    sized: ClassVar[str]

    def init(self, shape: Shape, rng: torch.Generator) -> Params: ...
    def keys_values(self, p: Params) -> tuple[Tensor, Tensor]:
        """(heads, P, d / heads) twice."""
        ...


@runtime_checkable
class Spread(Described, Protocol):
    """Keys and values for all layers out of parameters that the layers share: a way to train, not to store.

    ``settled`` is the attention method as which the result is kept.
    """

    sized: ClassVar[str]

    @property
    def settled(self) -> AttentionMethod: ...
    def init_shared(self, shapes: Sequence[Shape], rng: torch.Generator) -> Params:
        """One set of parameters for attention sites of these shapes, lowest first."""
        ...

    def spread(self, p: Params, shapes: Sequence[Shape]) -> list[Params]:
        """What ``settled`` has at each of the sites."""
        ...


@runtime_checkable
class PromptMethod(Described, Protocol):
    """Vectors that stand before a text's own token embeddings. ``sized`` as in ``AttentionMethod``."""

    sized: ClassVar[str]

    def init(self, shape: Shape, rng: torch.Generator) -> Params: ...
    def vectors(self, p: Params) -> Tensor:
        """(P, d)."""
        ...


@runtime_checkable
class Bundled(Described, Protocol):
    """Several methods as one module: each acts as it would alone, at its own sites."""

    @property
    def parts(self) -> Mapping[str, Described]: ...
    @property
    def gates(self) -> Mapping[str, int]:
        """{name of a part: how many gates it has at each of its sites} (``continual/gate.py``); others have none."""
        ...

    @property
    def settled(self) -> Described:
        """The bundle as which the result is kept."""
        ...


@runtime_checkable
class WeightMethod(Described, Protocol):
    """A change of the encoder's weights themselves: applied functionally, one adapter at a time."""

    def init_weights(self, weights: Mapping[str, Tensor], seed: int) -> Params:
        """Fresh parameters for an encoder with these weights: those of the layers that it is limited to."""
        ...

    def changed(self, p: Params, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{name of a parameter of the encoder: the value that it has instead}; those that keep theirs are left out."""
        ...


@runtime_checkable
class Selective(WeightMethod, Protocol):
    """A weight method that looks at the task's gradients before it is trained, to choose which weights it changes.

    ``init_weights`` gives no parameters where it does not know them before.
    """

    @property
    def batches(self) -> int:
        """Training batches whose gradients it wants to see."""
        ...

    def select(self, weights: Mapping[str, Tensor], gradients: Iterable[Mapping[str, Tensor]]) -> Params:
        """Fresh parameters, from the gradients of the loss with respect to the weights, one mapping a batch."""
        ...


def require_dropout(probability: float) -> None:
    """Raises ContinualError for what is no probability of dropping, or drops all."""
    if not 0 <= probability < 1:
        raise ContinualError(f"method.dropout must be at least 0 and below 1, got {probability}")


def in_layers(weights: Mapping[str, Tensor], text: str | int | None) -> list[str]:
    """The names of the encoder's weights that are in these layers; all names for None.

    A layer's number is the first number in a name; what has none is in no layer.
    """
    if text is None:
        return list(weights)
    numbers = {name: int(match[1]) for name in weights if (match := re.search(r"\.(\d+)\.", name))}
    layers = layers_in(text, 1 + max(numbers.values(), default=-1))
    return [name for name, number in numbers.items() if number in layers]


def layers_in(text: str | int | None, count: int) -> frozenset[int]:
    """The layers that a text, or a number, names, of ``count`` in all, lowest 0; None names all.

    >>> sorted(layers_in("4-", 6)), sorted(layers_in("0,2-3", 6)), sorted(layers_in(4, 6)), len(layers_in(None, 6))
    ([4, 5], [0, 2, 3], [4], 6)

    Raises ContinualError for a text that is not a list of numbers and ranges, or names a layer that is not there.
    """
    if text is None:
        return frozenset(range(count))
    found: set[int] = set()
    for piece in str(text).split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(-?)\s*(\d*)\s*", piece)
        if match is None or (match[3] and not match[2]):
            raise ContinualError(
                f"method.layers is {text!r}; expected numbers and ranges such as '4-', '0-3' or '0,2-3'"
            )
        first, last = int(match[1]), int(match[3] or (count - 1 if match[2] else match[1]))
        if not first <= last < count:
            raise ContinualError(f"method.layers is {text!r}; this encoder has the layers 0 to {count - 1}")
        found.update(range(first, last + 1))
    return frozenset(found)
