"""Layers that are computed again in the backward pass, under what their sites were told the first time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from torch.utils.checkpoint import checkpoint

from continual.encoder.attention import AttentionSite
from continual.encoder.columns import Columns
from continual.encoder.site import Route


class Again:
    """Gradient checkpointing of a layer, as transformers calls it: ``again(layer, *args)``.

    Before the backward pass comes to it the encoder may have read other batches, those that are rehearsed for one.
    """

    def __init__(self, route: Route, sites: Sequence[AttentionSite]) -> None:
        self.route, self.sites = route, sites

    def __call__(self, layer: Callable[..., Any], *args: Any) -> Any:
        told = _Told(self.route, self.sites)
        return checkpoint(layer, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), told))


class _Told:
    """Within it sites are told what they were when this was made. It may be entered again: so can a backward pass."""

    def __init__(self, route: Route, sites: Sequence[AttentionSite]) -> None:
        self.route, self.sites = route, sites
        self._then = self._now()
        self._before = self._then

    def __enter__(self) -> None:
        self._before = self._now()
        self._tell(self._then)

    def __exit__(self, *_: object) -> None:
        self._tell(self._before)

    def _now(self) -> tuple[dict[str, Any], list[tuple[Columns, ...]]]:
        return dict(vars(self.route)), [site.spread for site in self.sites]

    def _tell(self, said: tuple[dict[str, Any], list[tuple[Columns, ...]]]) -> None:
        vars(self.route).update(said[0])
        for site, spread in zip(self.sites, said[1], strict=True):
            site.spread = spread
