"""Layers that are computed again in the backward pass, under what their sites were told the first time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from continual.encoder.attention import AttentionSite
from continual.encoder.claim import Claim
from continual.encoder.columns import Columns
from continual.encoder.depth import Depth, Start
from continual.encoder.site import Route


class Again:
    """Gradient checkpointing of a layer, as transformers calls it: ``again(layer, *args)``.

    Before the backward pass comes to it the encoder may have read other batches, those that are rehearsed for one. And
    before transformers 5.23 a layer is called again, not its ``forward``: that comes by ``Depth`` once more.
    """

    def __init__(self, route: Route, sites: Sequence[AttentionSite], claim: Claim) -> None:
        self.route, self.sites, self.claim = route, sites, claim

    def __call__(self, layer: Callable[..., Any], *args: Any) -> Any:
        told = _Told(self.route, self.sites, self.claim.depth)
        return checkpoint(layer, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), told))


class _Said(NamedTuple):
    route: dict[str, Any]
    spread: list[tuple[Columns, ...]]
    begin: Start
    given: Tensor | None


class _Told:
    """Within it sites are told what they were when this was made. It may be entered again: so can a backward pass."""

    def __init__(self, route: Route, sites: Sequence[AttentionSite], depth: Depth | None) -> None:
        self.route, self.sites, self.depth = route, sites, depth
        self._then = self._now()
        self._before = self._then

    def __enter__(self) -> None:
        self._before = self._now()
        self._tell(self._then)

    def __exit__(self, *_: object) -> None:
        self._tell(self._before)

    def _now(self) -> _Said:
        begun = (Start(0), None) if self.depth is None else (self.depth.begin, self.depth.given)
        return _Said(dict(vars(self.route)), [site.spread for site in self.sites], *begun)

    def _tell(self, said: _Said) -> None:
        vars(self.route).update(said.route)
        for site, spread in zip(self.sites, said.spread, strict=True):
            site.spread = spread
        if self.depth is not None:
            self.depth.begin, self.depth.given = said.begin, said.given
