"""How several adapters act as one, one file a composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from continual import folder
from continual.adapter import Adapter, unflatten
from continual.composition.base import Composition, Mixer
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.site import Holder
from continual.errors import ContinualError
from continual.typed import tuples


def name_of(composition: Composition) -> str:
    """The name under which ``named`` finds it again: its file's."""
    return folder.name_of(__name__, composition)


def named(name: str, values: dict[str, Any]) -> Composition:
    """The composition a card names; a card can reach no class outside this folder."""
    return folder.made(__name__, name, tuples(values))


def restore(
    model: AdaptedEncoder, composition: Composition, adapters: Sequence[Adapter], mixers: Mapping[str, Tensor]
) -> None:
    """Install a stored composition over its adapters, in the order of its parents, with the tensors it learned.

    Where the composition itself leaves all adapters of a site out (``Fusion.kept``), that site's tensors may be there
    or not: a full composition's tensors are those of the pruned one. A fixed composition has none.

    Raises ContinualError where these are not mixers for just these adapters.
    """
    composition.install(model, adapters, seed=0)
    pruned = _addresses(adapters) - _addresses(model.loaded)
    stored = {address: tensors for address, tensors in unflatten(mixers).items() if address not in pruned}
    fresh = {address: mixer for address, mixer in model.mixers().items() if mixer.state_dict()}
    if odd := sorted(stored.keys() ^ fresh.keys()):
        raise ContinualError(f"the composition's mixers and its adapters' sites differ at: {', '.join(odd)}")
    for address, tensors in stored.items():
        try:
            fresh[address].load_state_dict(tensors)
        except RuntimeError as error:
            raise ContinualError(f"the mixer at {address} is not one for these adapters: {error}") from error


def _addresses(adapters: Sequence[Adapter]) -> set[str]:
    return {address for adapter in adapters for address in adapter.params}


class Watch:
    """Averages what each mixer's weights are while it is entered: over tokens (attention) or rows (gates)."""

    def __init__(self, model: AdaptedEncoder) -> None:
        self.mixers = {a: m for a, m in model.mixers().items() if isinstance(m, Mixer)}
        self.members = {a: s.members for a, s in model.sites.items() if isinstance(s, Holder) and a in self.mixers}
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Watch:
        for address, mixer in self.mixers.items():
            self._handles.append(mixer.register_forward_hook(self._hook(address)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def means(self) -> dict[str, list[float]]:
        """{address: mean weight of each of the site's members}."""
        return {address: (total / self.counts[address]).tolist() for address, total in self.sums.items()}

    def shares(self) -> dict[str, dict[int, float]]:
        """{address: {number of a loaded adapter: mean weight of all that it has there}}, as ``prune`` reads them."""
        found: dict[str, dict[int, float]] = {}
        for address, means in self.means().items():
            own = found.setdefault(address, {})
            for member, mean in zip(self.members[address], means, strict=True):
                own[member] = own.get(member, 0.0) + mean
        return found

    def _hook(self, address: str) -> Any:
        def count(mixer: Mixer, args: tuple[Any, ...], _: Tensor) -> None:
            mask = args[2]
            weights = mixer.weights(*args)
            live = mask.to(weights)[..., None] if weights.shape[1] > 1 else torch.ones_like(weights[..., :1])
            self.sums[address] = self.sums.get(address, 0.0) + (weights * live).sum((0, 1)).double().cpu()
            self.counts[address] = self.counts.get(address, 0.0) + float(live.sum())

        return count
