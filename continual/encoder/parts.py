"""What a mixer sees of a site: the deltas of all that is loaded there, without their being formed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

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
        found = [value.dot(q) for value in self._values]
        return found[0] if len(found) == 1 else torch.cat(found, -1)

    def mix(self, weights: Tensor, values: Tensor | None = None) -> Tensor:
        """(B, T or 1, N) -> (B, T, d_out), the weighted sum of the deltas, by ``values`` (d_out, d_out) if given."""
        if len(self._values) == 1:
            return self._values[0].mix(weights, values)
        counts = [len(g.owners) for g in self.groups]
        pieces = zip(self._values, weights.split(counts, -1), strict=True)
        return torch.stack([value.mix(w, values) for value, w in pieces]).sum(0)

    def _value(self, group: Group, opening: Tensor | None) -> _Codes | _Deltas | _Gated:
        if not group.low_rank:
            return _Deltas(_opened(group.deltas(self.x, self.y), opening))
        codes = _Codes(group, self.x, self.y)
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

    def __init__(self, group: Group, x: Tensor, y: Tensor) -> None:
        self.wide = group.wide()
        method = cast(LowRank, group.method)
        self.codes = method.code(self.wide.coded, x, y).unflatten(-1, (len(group.owners), -1))  # (B, T, N, r)

    def dot(self, q: Tensor) -> Tensor:
        dots = (F.linear(q, self.wide.up).unflatten(-1, self.codes.shape[-2:]) * self.codes).sum(-1)
        return dots if self.wide.bias is None else _plus(dots, q, self.wide.bias.T)

    def mix(self, weights: Tensor, values: Tensor | None) -> Tensor:
        codes, (_, up, bias) = (self.codes * weights[..., None]).flatten(-2), self.wide
        if values is not None and not torch.is_grad_enabled() and codes.shape[:2].numel() > len(up):
            # Nothing is learned, and there are more tokens than codes: the matrix meets U, not the sum of every token.
            up, bias, values = F.linear(up, values), None if bias is None else F.linear(bias, values), None
        mixed = codes @ up
        mixed = mixed if bias is None else _plus(mixed, weights.expand(*mixed.shape[:2], -1), bias)
        return mixed if values is None else F.linear(mixed, values)


def _plus(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """total + a @ b in one kernel."""
    return torch.addmm(total.flatten(0, 1), a.flatten(0, 1), b).view_as(total)


class _Gated:
    """The same behind gates, (B, 1, N): both questions are linear in the deltas."""

    def __init__(self, codes: _Codes, opening: Tensor) -> None:
        self.codes, self.opening = codes, opening

    def dot(self, q: Tensor) -> Tensor:
        dots = self.codes.dot(q)
        return dots * self.opening.to(dots)

    def mix(self, weights: Tensor, values: Tensor | None) -> Tensor:
        return self.codes.mix(weights * self.opening.to(weights), values)
