"""The keys and values of prefixes at one attention, and the gates that multiply them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from continual import gate
from continual.encoder.group import Group
from continual.method.base import Params


class Columns(NamedTuple):
    """The prefixes of a group at one attention: (slots, heads, P, d_head) twice, and the parameters of their gates."""

    group: Group
    keys: Tensor
    values: Tensor
    gate: Params

    def opened(self, slot: Tensor | None, read: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """What multiplies keys and values, (B, 1, 1, 1) twice: of a lone prefix, or of each row's own."""
        if not self.gate:
            return None
        if slot is None:
            opened = gate.opening({name: tensor[0] for name, tensor in self.gate.items()}, read, mask)
        else:
            opened = gate.routed(self.gate, slot, read, mask)
        return opened[:, 0, None, None, None], opened[:, -1, None, None, None]


class Prefixes:
    """What a mixer sees of an attention: N prefixes, whose keys and values it multiplies by a weight each."""

    def __init__(self, columns: Sequence[Columns], read: Tensor, mask: Tensor) -> None:
        self.columns, self.read, self.mask = columns, read, mask

    @property
    def reads(self) -> list[tuple[Tensor, int]]:
        """For each group the states that enter the attention, (B, T, d), and how many members it has."""
        return [(self.read, len(column.group.owners)) for column in self.columns]

    def mix(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, N) -> keys and values of all N, one beside the other: (B, heads, ΣP, d_head) twice.

        A gated prefix is the one that its own gates have multiplied.
        """
        counts = [len(column.group.owners) for column in self.columns]
        keys, values = [], []
        for column, own in zip(self.columns, weights[:, 0].split(counts, -1), strict=True):
            opened = gate.each(column.gate, self.read, self.mask) if column.gate else own.new_ones(1, 1, 1)
            keys.append(_times(column.keys, own * opened[..., 0].to(own)))
            values.append(_times(column.values, own * opened[..., -1].to(own)))
        return torch.cat(keys, 2), torch.cat(values, 2)


def gates_of(params: Params) -> Params:
    """The parameters of gates among these, or none."""
    return {name: params[name] for name in (gate.WEIGHT, gate.BIAS) if name in params}


def real(columns: Sequence[Columns], k: Tensor) -> Tensor | None:
    """(B, ΣP): which columns of all slots are more than a shorter prefix's padding; None where all are."""
    pieces = []
    for group, keys, _, _ in columns:
        pieces.append((torch.arange(keys.shape[2], device=k.device) < group.sizes[:, None]).flatten())
    even = all(shape == group.shapes[0] for group, _, _, _ in columns for shape in group.shapes)
    return None if even else torch.cat(pieces).expand(len(k), -1)


def _times(columns: Tensor, weights: Tensor) -> Tensor:
    """(n, heads, P, d_head) by (B, n) -> (B, heads, n · P, d_head)."""
    return torch.einsum("nhpd,bn->bhnpd", columns, weights.to(columns)).flatten(2, 3)
