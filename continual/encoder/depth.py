"""A forward that stops before a layer, or begins at one: what is below the lowest site need not be computed twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn


def lowest(names: Iterable[str], layers: int) -> int:
    """The first of so many layers in which something acts that is called so: a site, or a weight of the encoder.

    A layer's number is the first number between dots, colons or slashes; what has none, as a prompt, acts before all.
    Where nothing acts at all it is the last layer.

    >>> lowest(["4/query", "encoder.layer.3.output.dense.weight"], 6), lowest(["encoder/embedding"], 6), lowest([], 6)
    (3, 0, 5)
    """
    found = [re.search(r"(?:^|[./:])(\d+)[./:]", name) for name in names]
    return min([*(int(match[1]) if match else 0 for match in found), layers - 1])


class _Reached(Exception):
    def __init__(self, states: Tensor) -> None:
        super().__init__("the layer that was asked for")
        self.states = states


class Depth:
    """Stands between the encoder and each of its layers, which it lets run, passes by, or stops before.

    The encoder goes through its own code (embeddings, masks, positions), so that nothing of a family is written twice:
    what it makes of layers that are passed by is dropped where the states that are given take its place.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.begin, self.end, self.given = 0, -1, None
        self._parts = [0] * len(layers)  # of how many a layer's output is a tuple; 0: it is a tensor
        self._layers = tuple(layers)
        for number, layer in enumerate(layers):
            layer.__dict__["forward"] = partial(self._run, number, layer.forward)

    def remove(self) -> None:
        for layer in self._layers:
            layer.__dict__.pop("forward", None)

    def before(self, layer: int, forward: Callable[[], object]) -> Tensor:
        """(U, T, d) the input of a layer in this forward, which ends there."""
        self.end = layer
        try:
            forward()
        except _Reached as reached:
            return reached.states
        finally:
            self.end = -1
        raise RuntimeError(f"the forward did not come to layer {layer}")

    @contextmanager
    def begun(self, layer: int, states: Tensor | None) -> Iterator[None]:
        """Within it a forward begins at this layer with these states; None: at the first, as ever."""
        if states is not None:
            self.begin, self.given = layer, states
        try:
            yield
        finally:
            self.begin, self.given = 0, None

    def _run(self, number: int, forward: Callable[..., Any], *args: Any, **named: Any) -> Any:
        states = args[0] if args else named.pop("hidden_states")
        if number == self.end:
            raise _Reached(states)
        if number < self.begin:
            return (states, *[None] * (self._parts[number] - 1)) if self._parts[number] else states
        if number == self.begin and self.given is not None:
            states = self.given
        out = forward(states, *args[1:], **named)
        self._parts[number] = len(out) if isinstance(out, tuple) else 0
        return out
