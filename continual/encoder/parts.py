"""What a mixer sees of a site: the deltas of all that is loaded there, without their being formed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from continual.encoder.group import Group
from continual.method.base import LowRank


class Parts:
    """What a mixer sees of a site: N deltas, of which it may ask two things without their ever being formed.

    ``dot(q)`` and ``mix(w)`` run in rank space where the group is low-rank: with delta_n = U_n a_n + b_n,
    q · delta_n = (U_nᵀ q) · a_n + q · b_n and Σ w_n delta_n = Σ U_n (w_n a_n) + Σ w_n b_n, exactly. A gated adapter's
    delta is the one that its gate has multiplied: g_n a_n and g_n b_n take the place of a_n and b_n.
    """

    def __init__(self, groups: Sequence[Group], x: Tensor, y: Tensor, mask: Tensor) -> None:
        self.groups, self.x, self.y = groups, x, y
        self._openings = [group.openings(x, y, mask) if group.gates else None for group in groups]
        self._values = [self._value(g, opening) for g, opening in zip(groups, self._openings, strict=True)]

    @property
    def reads(self) -> list[tuple[Tensor, int]]:
        """For each group what its method reads, (B, T, d_in) or (B, T, d_out), and how many members it has."""
        return [(self.x if g.method.reads == "x" else self.y, len(g.owners)) for g in self.groups]

    def deltas(self) -> Tensor:
        """(N, B, T, d_out), the members in the site's order."""
        pairs = zip(self.groups, self._openings, strict=True)
        return torch.cat([_opened(group.deltas(self.x, self.y), opening) for group, opening in pairs])

    def dot(self, q: Tensor) -> Tensor:
        """(B, T, d_out) -> (B, T, N), the inner product of q with each delta."""
        return torch.cat([value.dot(q) for value in self._values], -1)

    def mix(self, weights: Tensor, values: Tensor | None = None) -> Tensor:
        """(B, T or 1, N) -> (B, T, d_out), the weighted sum of the deltas, by ``values`` (d_out, d_out) if given."""
        counts = [len(g.owners) for g in self.groups]
        pieces = zip(self._values, weights.split(counts, -1), strict=True)
        return torch.stack([value.mix(w, values) for value, w in pieces]).sum(0)

    def _value(self, group: Group, opening: Tensor | None) -> _Codes | _Deltas | _Gated:
        if not isinstance(group.method, LowRank):
            return _Deltas(_opened(group.deltas(self.x, self.y), opening))
        codes = _Codes(group, group.method, self.x, self.y)
        return codes if opening is None else _Gated(codes, opening)


def _opened(deltas: Tensor, opening: Tensor | None) -> Tensor:
    """(N, B, T, d_out) by (B, 1, N)."""
    return deltas if opening is None else deltas * opening.to(deltas).permute(2, 0, 1)[..., None]


class _Deltas:
    def __init__(self, deltas: Tensor) -> None:
        self.deltas = deltas

    def dot(self, q: Tensor) -> Tensor:
        return torch.einsum("btd,nbtd->btn", q, self.deltas)

    def mix(self, weights: Tensor, values: Tensor | None) -> Tensor:
        mixed = torch.einsum("btn,nbtd->btd", weights.expand(*self.deltas.shape[1:3], -1), self.deltas)
        return mixed if values is None else F.linear(mixed, values)


class _Codes:
    """The same for low-rank groups: one matmul for all codes, none for keys and values."""

    def __init__(self, group: Group, method: LowRank, x: Tensor, y: Tensor) -> None:
        n = len(group.owners)
        wide = {name: group.stack[name].flatten(0, 1) for name in method.coded}
        self.codes = method.code(wide, x, y).unflatten(-1, (n, -1))  # (B, T, N, r)
        biased = method.up(group.only())[1] is not None
        self.up: Tensor = vmap(lambda p: method.up(p)[0])(group.every())
        self.bias: Tensor | None = vmap(lambda p: method.up(p)[1])(group.every()) if biased else None

    def dot(self, q: Tensor) -> Tensor:
        wide = self.up.transpose(1, 2).flatten(0, 1)  # (N·r, d)
        dots = (F.linear(q, wide).unflatten(-1, self.codes.shape[-2:]) * self.codes).sum(-1)
        return dots if self.bias is None else dots + F.linear(q, self.bias)

    def mix(self, weights: Tensor, values: Tensor | None) -> Tensor:
        codes, bias = (self.codes * weights[..., None]).flatten(-2), self.bias
        wide = self.up.transpose(0, 1).flatten(1, 2)  # (d, N·r)
        if values is not None and not torch.is_grad_enabled() and codes.shape[:2].numel() > wide.shape[1]:
            # Nothing is learned, and there are more tokens than codes: the matrix meets U, not the sum of every token.
            wide, bias, values = values @ wide, None if bias is None else F.linear(bias, values), None
        mixed = F.linear(codes, wide)
        mixed = mixed if bias is None else mixed + F.linear(weights, bias.T)
        return mixed if values is None else F.linear(mixed, values)


class _Gated:
    """The same behind gates, (B, 1, N): both questions are linear in the deltas."""

    def __init__(self, codes: _Codes, opening: Tensor) -> None:
        self.codes, self.opening = codes, opening

    def dot(self, q: Tensor) -> Tensor:
        dots = self.codes.dot(q)
        return dots * self.opening.to(dots)

    def mix(self, weights: Tensor, values: Tensor | None) -> Tensor:
        return self.codes.mix(weights * self.opening.to(weights), values)
