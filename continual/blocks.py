"""A batch in blocks: all units of a member one behind the other, as many of each. Then no unit needs parameters of its
own: those of a member meet all its units in one product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor
from torch.func import vmap


class Blocks(NamedTuple):
    """each     the units of a block
    members  (L,) the member that each of the L blocks is of; None: block n is of member n, and none is left out
    """

    each: int
    members: Tensor | None = None

    def apply(self, call: Callable[..., Tensor], stack: Mapping[str, Tensor], *units: Tensor) -> Tensor:
        """``call`` of each member's own parameters, and its rows of each of ``units``: (U, …) -> (U, …).

        stack  (N, …) the parameters of all members; ``call`` must take any number of leading axes
        """
        own = dict(stack)
        if self.members is not None:
            own = {name: tensor.index_select(0, self.members) for name, tensor in own.items()}
        found = vmap(call)(own, *(self._flat(unit) for unit in units))
        return found.reshape(len(units[0]), *units[0].shape[1:-1], found.shape[-1])

    def _flat(self, units: Tensor) -> Tensor:
        """(U, …, d) -> (L, rows, d)"""
        return units.reshape(len(units) // self.each, -1, units.shape[-1])
