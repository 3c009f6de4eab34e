"""Prompts: learned vectors that stand before a text's own token embeddings."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.func import vmap

from continual.encoder.group import Group
from continual.encoder.site import Holder
from continual.method.base import PromptMethod


class Prompted(NamedTuple):
    """Embeddings, mask and segments with prompts in front; ``tokens`` (B, T) is where each token stands now."""

    embeddings: Tensor
    mask: Tensor
    segment: Tensor
    tokens: Tensor


class PromptSite(Holder):
    """[p_1 … p_P; e_1 … e_T] with a position of its own for each, as in ``peft``: tokens move P places to the right.

    Every row has as many vectors as its own adapter: what a shorter prompt leaves free is padding at the row's end, so
    a row in a mixed batch is read as it would be alone.
    """

    @property
    def longest(self) -> int:
        """Vectors of the longest prompt that is loaded."""
        return max(group.stack[_method(group).sized].shape[1] for group in self.stacks)

    def insert(self, embeddings: Tensor, mask: Tensor, segment: Tensor | None) -> Prompted:
        """(B, T, e), (B, T), (B, T) or None -> the same with T + P columns."""
        rows, size = mask.shape
        device = mask.device
        member = self.route.member
        prompts, lengths = [], torch.zeros(rows, dtype=torch.long, device=device)
        for group in self.stacks:
            vectors = vmap(_method(group).vectors)(group.every())
            slot = torch.zeros(rows, dtype=torch.long, device=device) if member is None else group.slot[member]
            here = slot >= 0
            prompts.append(torch.where(here[:, None, None], vectors[slot.clamp_min(0)].to(embeddings), 0.0))
            lengths = torch.where(here, group.sizes[slot.clamp_min(0)], lengths)
        most = max(prompt.shape[1] for prompt in prompts)
        front = torch.stack([torch.nn.functional.pad(p, (0, 0, 0, most - p.shape[1])) for p in prompts]).sum(0)
        place, start = torch.arange(most + size, device=device)[None], lengths[:, None]
        # A column of the result is a column of [front; tokens; nothing].
        source = torch.where(place < start, place, place - start + most).clamp_max(most + size)
        ones, none = torch.ones(rows, most, dtype=mask.dtype, device=device), mask.new_zeros(rows, 1)
        wide = torch.cat([front, embeddings, embeddings.new_zeros(rows, 1, embeddings.shape[2])], 1)
        types = torch.zeros_like(mask) if segment is None else segment
        return Prompted(
            embeddings=wide.gather(1, source[..., None].expand(-1, -1, wide.shape[2])),
            mask=torch.cat([ones, mask, none], 1).gather(1, source),
            segment=torch.cat([none.expand(-1, most), types, none], 1).gather(1, source),
            tokens=torch.arange(size, device=device)[None] + start,
        )


def _method(group: Group) -> PromptMethod:
    return cast(PromptMethod, group.method)
