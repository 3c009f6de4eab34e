"""Prefixes: keys and values put before those of a frozen attention, through transformers' attention interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap
from torch.utils.hooks import RemovableHandle
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from continual.encoder.group import Group
from continual.encoder.site import Holder
from continual.method import name_of
from continual.method.base import AttentionMethod, Params, Spread, layers_in

NAME = "continual"


class AttentionSite(Holder):
    """attn(q) = softmax(q [P_K; K]ᵀ / √d_head + mask) [P_V; V], per head (Li & Liang 2021). Empty, it changes nothing.

    ``spread`` holds the keys and values that were computed for this layer from parameters that all layers share.
    """

    spread: tuple[tuple[Group, Tensor, Tensor], ...] = ()

    def attach(self, module: nn.Module) -> list[RemovableHandle]:
        """The interface's function finds the site on the module. Not as a submodule: the encoder's keys stay as they
        are."""
        module.__dict__["_site"] = self
        return []

    @property
    def empty(self) -> bool:
        return len(self.stacks) + len(self.spread) == 0

    def extend(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """(B, H, T, d_head) keys and values, and a mask over (B, 1, T, T) or none -> the same with P more columns."""
        stacked = [(g, *vmap(_method(g).keys_values)(g.every())) for g in self.stacks]
        for group, keys, values in [*stacked, *self.spread]:
            if self.route.member is None:
                mask = _with(mask, None, keys.shape[2], k)
                k = torch.cat([keys[:1].to(k).expand(len(k), -1, -1, -1), k], 2)
                v = torch.cat([values[:1].to(v).expand(len(v), -1, -1, -1), v], 2)
                continue
            slot = group.slot[self.route.member]
            visible = torch.arange(keys.shape[2], device=k.device) < group.sizes[slot.clamp_min(0)][:, None]
            visible = visible & (slot >= 0)[:, None]  # (B, P)
            # A member without a prefix, or with a shorter one, never sees the columns that are not its own.
            mask = _with(mask, visible, keys.shape[2], k)
            here = visible[:, None, :, None]
            k = torch.cat([torch.where(here, keys[slot.clamp_min(0)].to(k), 0.0), k], 2)
            v = torch.cat([torch.where(here, values[slot.clamp_min(0)].to(v), 0.0), v], 2)
        return k, v, mask


class SharedSite(Holder):
    """What a method spreads over the attention sites of all layers: computed once a forward, not once a row."""

    def spread(self, sites: Sequence[AttentionSite]) -> None:
        """Give each site its keys and values."""
        if not self.stacks:
            return
        found: dict[str, list[tuple[Group, Tensor, Tensor]]] = {}
        for group in self.stacks:
            method, chosen = cast(Spread, group.method), _chosen(group, sites)
            shapes = [site.shape for site in chosen]
            pieces = vmap(lambda p, m=method, s=shapes: m.spread(p, s))(group.every())
            for site, piece in zip(chosen, pieces, strict=True):
                keys, values = vmap(method.settled.keys_values)(piece)
                found.setdefault(site.address, []).append((group, keys, values))
        for site in sites:
            site.spread = tuple(found.get(site.address, ()))

    def forget(self, sites: Sequence[AttentionSite]) -> None:
        """Let go of what ``spread`` computed."""
        if self.stacks:
            for site in sites:
                site.spread = ()

    @torch.no_grad()
    def settled(self, n: int, sites: Sequence[AttentionSite]) -> Iterator[tuple[str, str, Params]]:
        """(address, name of the part, parameters) of what is stored of the n-th adapter in place of what it shares."""
        for group in self.stacks:
            if n in group.owners:
                method, chosen = cast(Spread, group.method), _chosen(group, sites)
                pieces = method.spread(group.take(group.owners.index(n)), [site.shape for site in chosen])
                for site, piece in zip(chosen, pieces, strict=True):
                    yield site.address, name_of(method.settled), {name: t.contiguous() for name, t in piece.items()}


def _chosen(group: Group, sites: Sequence[AttentionSite]) -> list[AttentionSite]:
    """Those in the layers that the group's method is limited to, lowest first."""
    layers = layers_in(group.method.layers, len(sites))
    return [site for number, site in enumerate(sites) if number in layers]


def attend(model: PreTrainedModel) -> bool:
    """Let the model's attention go through this file; without prefixes it is bit for bit sdpa.

    Whether it does now: some releases of transformers refuse for some families, with no more than a log line.
    """
    model.set_attn_implementation(NAME)
    return model.config._attn_implementation == NAME


def _method(group: Group) -> AttentionMethod:
    return cast(AttentionMethod, group.method)


def _with(mask: Tensor | None, visible: Tensor | None, more: int, k: Tensor) -> Tensor | None:
    """The mask over ``more`` columns in front; these are visible to all, or as (B, P) ``visible`` says."""
    if visible is None:
        if mask is None:
            return None
        return F.pad(mask, (more, 0), value=True if mask.dtype == torch.bool else 0.0)
    if mask is None:
        mask = torch.ones(len(k), 1, 1, k.shape[2], dtype=torch.bool, device=k.device)
    columns = visible[:, None, None, :].expand(-1, 1, mask.shape[2], -1)
    if mask.dtype != torch.bool:
        columns = torch.zeros_like(columns, dtype=mask.dtype).masked_fill(~columns, torch.finfo(mask.dtype).min)
    return torch.cat([columns, mask.expand(len(columns), -1, -1, -1)], -1)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    site: AttentionSite | None = module.__dict__.get("_site")
    if site is not None and not site.empty:
        causal = options.get("is_causal")
        if attention_mask is None and (getattr(module, "is_causal", False) if causal is None else causal):
            # Sdpa's own causal mask would start at the prefix's first column.
            size = query.shape[2]
            attention_mask = torch.ones(1, 1, size, size, dtype=torch.bool, device=query.device).tril()
        key, value, attention_mask = site.extend(key, value, attention_mask)
        options["is_causal"] = False
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
