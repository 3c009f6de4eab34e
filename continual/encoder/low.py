"""Frozen weights in a lower precision, in the place of an encoder's own while it reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn


class _Place(NamedTuple):
    """A parameter of a module: what holds it, under which name, and both of its values."""

    held: dict[str, nn.Parameter | None]
    name: str
    own: nn.Parameter
    low: Tensor


class Low:
    """Copies of all weights in ``dtype``. Within ``reading`` the encoder computes with these, and its states are of it.

    Outside of a forward nothing has changed: whoever looks at the encoder finds its own parameters. Copies are made
    anew where these were moved or written to.
    """

    def __init__(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._encoder = encoder
        self._stamp: object = None
        self._places: list[_Place] = []

    @contextmanager
    def reading(self) -> Iterator[None]:
        self._refresh()
        for place in self._places:
            place.held[place.name] = place.low  # type: ignore[assignment]  # as functional_call does
        try:
            yield
        finally:
            for place in self._places:
                place.held[place.name] = place.own

    def _refresh(self) -> None:
        stamp = [(p.data_ptr(), p._version) for p in self._encoder.parameters()]
        if stamp != self._stamp:
            with torch.inference_mode(False), torch.no_grad():
                copies = {p: p.to(self.dtype) for p in self._encoder.parameters()}
            self._places = [
                _Place(module._parameters, name, p, copies[p])
                for module in self._encoder.modules()
                for name, p in module._parameters.items()
                if p is not None
            ]
            self._stamp = stamp
