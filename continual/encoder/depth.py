"""A forward that stops at a place, or begins there: what is below the lowest site need not be computed twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

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


class Start(NamedTuple):
    """The input of a layer; or, where ``norm`` is its path below the layer, of the norm that gives the layer's output.

    Nothing else of the layer need be run to begin there: it is that norm of the states.
    """

    layer: int
    norm: str = ""


class _Reached(Exception):
    def __init__(self, states: Tensor) -> None:
        super().__init__("the place that was asked for")
        self.states = states


class Depth:
    """Stands between the encoder and each of its layers, which it lets run, passes by, or stops at.

    The encoder goes through its own code (embeddings, masks, positions), so that nothing of a family is written twice:
    what it makes of layers that are passed by is dropped where the states that are given take its place.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.begin, self.given = Start(0), None
        self.end: Start | None = None
        self._parts = [0] * len(layers)  # of how many a layer's output is a tuple; 0: it is a tensor
        self._layers = tuple(layers)
        for number, layer in enumerate(layers):
            layer.__dict__["forward"] = partial(self._run, number, layer.forward)

    def remove(self) -> None:
        for layer in self._layers:
            layer.__dict__.pop("forward", None)

    def before(self, start: Start, forward: Callable[[], object]) -> Tensor:
        """(U, T, d) the states at this place in this forward, which ends there."""
        self.end = start
        try:
            forward()
        except _Reached as reached:
            return reached.states
        finally:
            self.end = None
        raise RuntimeError(f"the forward did not come to layer {start.layer}")

    @contextmanager
    def begun(self, start: Start, states: Tensor | None) -> Iterator[None]:
        """Within it a forward begins at this place with these states; None: at the first layer, as ever."""
        if states is not None:
            self.begin, self.given = start, states
        try:
            yield
        finally:
            self.begin, self.given = Start(0), None

    def _run(self, number: int, forward: Callable[..., Any], *args: Any, **named: Any) -> Any:
        states = args[0] if args else named.pop("hidden_states")
        if number < self.begin.layer:
            return self._as_output(number, states)
        if number == self.begin.layer and self.given is not None:
            states = self.given
            if self.begin.norm:
                return self._as_output(number, self._norm(self.begin)(states))
        if self.end is None or number != self.end.layer:
            return self._noted(number, forward(states, *args[1:], **named))
        if self.end.norm:
            with _inputs(self._norm(self.end)) as found:
                self._noted(number, forward(states, *args[1:], **named))
            [states] = found
        raise _Reached(states)

    def _norm(self, start: Start) -> nn.Module:
        return self._layers[start.layer].get_submodule(start.norm)

    def _noted(self, number: int, out: Any) -> Any:
        self._parts[number] = len(out) if isinstance(out, tuple) else 0
        return out

    def _as_output(self, number: int, states: Tensor) -> Any:
        return (states, *[None] * (self._parts[number] - 1)) if self._parts[number] else states


@contextmanager
def _inputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """What the module is given while this lasts."""
    found: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    try:
        yield found
    finally:
        hook.remove()
