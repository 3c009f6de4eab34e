"""Prefixes: keys and values put before those of a frozen attention, through transformers' attention interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap
from torch.utils.hooks import RemovableHandle
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from continual.encoder.arch import Place
from continual.encoder.columns import Columns, Prefixes, gates_of, real
from continual.encoder.group import Group
from continual.encoder.site import Holder
from continual.method import name_of
from continual.method.base import AttentionMethod, Params, Spread, layers_in

NAME = "continual"
PLANNED = torch.backends.cuda.cudnn_sdp_enabled()
"""Whether torch was free to choose cuDNN's attention when this file was imported; who forbade it before is obeyed."""


class AttentionSite(Holder):
    """attn(q) = softmax(q [P_K; K]ᵀ / √d_head + mask) [P_V; V], per head (Li & Liang 2021). Empty, it changes nothing.

    ``spread`` holds the keys and values that were computed for this layer from parameters that all layers share.
    Gates read the states that enter the attention. Under a mixer the columns of all prefixes stand before the text's.
    """

    spread: tuple[Columns, ...] = ()
    _read: Tensor | None = None

    def attach(self, layer: nn.Module, place: Place) -> list[RemovableHandle]:
        """The interface's function finds the site on the module. Not as a submodule: the encoder's keys stay as they
        are."""
        layer.get_submodule(place.path).__dict__["_site"] = self
        return [layer.get_submodule(place.reads).register_forward_pre_hook(self._note)]

    @property
    def empty(self) -> bool:
        return len(self.stacks) + len(self.spread) == 0

    def extend(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """(B, H, T, d_head) keys and values, and a mask over (B, 1, T, T) or none -> the same with P more columns."""
        if self.route.low is None:
            return self._extended(k, v, mask)
        with torch.autocast(k.device.type, self.route.low):
            return self._extended(k, v, mask)

    def _extended(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        read, self._read = self._read, None
        assert read is not None
        stacked = [Columns(g, *vmap(_method(g).keys_values)(g.every()), gates_of(g.every())) for g in self.stacks]
        columns = [*stacked, *self.spread]
        if self.mixer is not None:
            tokens = self.route.mask if self.route.mask is not None else read.new_ones(read.shape[:2])
            keys, values = self.mixer(read, read, tokens, Prefixes(columns, read, tokens))
            mask = _with(mask, real(columns, k), keys.shape[2], k)
            return torch.cat([keys.to(k), k], 2), torch.cat([values.to(v), v], 2), mask
        for column in columns:
            keys, values, visible = self._own(column, k, v, read)
            mask = _with(mask, visible, keys.shape[2], k)
            k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        return k, v, mask

    def _own(self, column: Columns, k: Tensor, v: Tensor, read: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """(B, heads, P, d_head) keys and values of a lone prefix, or of each row's own, and which of them it has."""
        member, (group, keys, values, _) = self.route.member, column
        slot = None if member is None else group.slot[member]
        if slot is None:
            keys, values = keys[:1].to(k).expand(len(k), -1, -1, -1), values[:1].to(v).expand(len(v), -1, -1, -1)
            visible = None
        else:
            visible = torch.arange(keys.shape[2], device=k.device) < group.sizes[slot.clamp_min(0)][:, None]
            visible = visible & (slot >= 0)[:, None]  # (B, P)
            # A member without a prefix, or with a shorter one, never sees the columns that are not its own.
            here = visible[:, None, :, None]
            keys = torch.where(here, keys[slot.clamp_min(0)].to(k), 0.0)
            values = torch.where(here, values[slot.clamp_min(0)].to(v), 0.0)
        if (opened := column.opened(slot, read, self.route.mask)) is not None:
            keys, values = keys * opened[0].to(k), values * opened[1].to(v)
        return keys, values, visible

    def _note(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.empty:
            self._read = args[0]


class SharedSite(Holder):
    """What a method spreads over the attention sites of all layers: computed once a forward, not once a row."""

    def spread(self, sites: Sequence[AttentionSite]) -> None:
        """Give each site its keys and values."""
        if not self.stacks:
            return
        found: dict[str, list[Columns]] = {}
        for group in self.stacks:
            method, chosen = cast(Spread, group.method), _chosen(group, sites)
            shapes = [site.shape for site in chosen]
            pieces = vmap(lambda p, m=method, s=shapes: m.spread(p, s))(group.every())
            gates = gates_of(group.every())
            for number, (site, piece) in enumerate(zip(chosen, pieces, strict=True)):
                keys, values = vmap(method.settled.keys_values)(piece)
                own = {name: tensor[:, number] for name, tensor in gates.items()}
                found.setdefault(site.address, []).append(Columns(group, keys, values, own))
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
                params = group.take(group.owners.index(n))
                pieces, gates = method.spread(params, [site.shape for site in chosen]), gates_of(params)
                for number, (site, piece) in enumerate(zip(chosen, pieces, strict=True)):
                    piece |= {name: tensor[number] for name, tensor in gates.items()}
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


@contextmanager
def kernels(planned: bool) -> Iterator[None]:
    """Whether attention on a GPU may be cuDNN's, in the whole process: it makes a plan for each new shape of a batch,
    which takes 0.1 s forward and backward, and is then some 30 % faster than torch's own kernels."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(planned and PLANNED)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


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
    found: AttentionSite | None = module.__dict__.get("_site")
    site, slow = None if found is None or found.empty else found, _slow(query)
    if site is not None or slow:
        causal = options.get("is_causal")
        if attention_mask is None and (getattr(module, "is_causal", False) if causal is None else causal):
            # Sdpa's own causal mask would start at the prefix's first column.
            size = query.shape[2]
            attention_mask = torch.ones(1, 1, size, size, dtype=torch.bool, device=query.device).tril()
        options["is_causal"] = False
    if site is not None:
        key, value, attention_mask = site.extend(key, value, attention_mask)
    if slow:
        return _written_out(query, key, value, attention_mask, options.get("scaling")), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


def _slow(query: Tensor) -> bool:
    """Where torch's fused attention is not the fast one: on a CPU its backward in bfloat16 takes four times as long as
    in float32 (2.13)."""
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad


def _written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """(B, T, heads, d_head): softmax(Q Kᵀ / √d_head + mask) V with the softmax in float32.

    In place where it can be: (B, heads, T, T) in float32 is the largest thing that a layer makes.
    """
    scores = (query @ key.transpose(-1, -2)).float().mul_(scale or query.shape[-1] ** -0.5)
    if mask is not None:
        # What is added once for all heads needs no word in the backward pass, where masked_fill fills once more.
        scores += _hidden(mask, scores) if mask.dtype == torch.bool else mask
    return (scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).contiguous()


def _hidden(mask: Tensor, like: Tensor) -> Tensor:
    """0 where the mask is true, -inf where it is not."""
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(~mask, float("-inf"))


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
