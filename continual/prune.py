"""AdapterDrop for compositions: which members stay at which site (Rücklé et al. 2021, §3 and §4).

AdapterFusion's W_q, W_k and W_v do not depend on how many members there are, so members can be taken away after it was
trained: those that get little attention, or all of the low layers. What stays is a ``Kept``, plain data: as
``Fusion.kept`` it is stored with the fusion and applied wherever that is installed.

    with composition.Watch(model) as watch:
        ...  # answers of the validation rows
    kept = prune.automatic(score, prune.steps(watch.shares()), tolerance=0.003)

``score(kept)`` restores ``replace(fusion, kept=kept)`` over the same adapters and mixers, and scores it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from continual.adapter import Adapter
from continual.errors import ContinualError

Kept = Mapping[str, tuple[int, ...]]
"""{address: numbers of the adapters that stay there}; where an address is not named all stay, where it has () none."""
Shares = Mapping[str, Mapping[int, float]]
"""{address: {number of an adapter: its mean weight there}}: ``composition.Watch(...).shares()``."""


def without(adapters: Sequence[Adapter], kept: Kept) -> tuple[Adapter, ...]:
    """The adapters, as many and in the same order, without the parameters that they have where they do not stay.

    Raises ContinualError for an address at which no adapter acts, and a number that is none of those that act there.
    """
    for address, members in kept.items():
        acting = [index for index, adapter in enumerate(adapters) if address in adapter.params]
        if not acting:
            places = sorted({place for adapter in adapters for place in adapter.params})
            raise ContinualError(f"kept has {address!r}, where no adapter acts; these act at: {', '.join(places)}")
        if not set(members) <= set(acting) or len(set(members)) < len(members):
            raise ContinualError(f"kept at {address} is {list(members)}; expected different ones of {acting}")
    return tuple(
        replace(adapter, params={a: p for a, p in adapter.params.items() if index in kept.get(a, (index,))})
        for index, adapter in enumerate(adapters)
    )


def most_attended(shares: Shares, k: int) -> dict[str, tuple[int, ...]]:
    """At each site the k adapters of the largest mean weight; of equal ones those that come first.

    >>> most_attended({"0/ffn_norm": {0: 0.1, 1: 0.6, 2: 0.3}, "1/ffn_norm": {1: 0.2, 2: 0.8}}, 2)
    {'0/ffn_norm': (1, 2), '1/ffn_norm': (1, 2)}

    Raises ContinualError for k below 1.
    """
    if k < 1:
        raise ContinualError(f"k must be at least 1, got {k}; to leave whole layers out use dropped(addresses, layers)")
    return {a: tuple(sorted(sorted(own, key=lambda m: (-own[m], m))[:k])) for a, own in shares.items()}


def dropped(addresses: Iterable[str], layers: Collection[int]) -> dict[str, tuple[int, ...]]:
    """None stays in these layers.

    >>> dropped(["0/ffn_norm", "1/ffn_norm", "2/ffn_norm"], range(2))
    {'0/ffn_norm': (), '1/ffn_norm': ()}
    """
    return {address: () for address in addresses if _layer(address) in layers}


def steps(shares: Shares) -> list[dict[str, tuple[int, ...]]]:
    """Ever less, beginning with all: the order in which ``automatic`` prunes.

    First member by member, the one of the least mean weight next, whatever its layer, until each site has one; then
    layer by layer, the lowest next, until one layer is left. Means are those of the full composition.

    >>> for kept in steps({"0/ffn_norm": {0: 0.6, 1: 0.4}, "1/ffn_norm": {0: 0.1, 1: 0.9}}):
    ...     print(kept)
    {'0/ffn_norm': (0, 1), '1/ffn_norm': (0, 1)}
    {'0/ffn_norm': (0, 1), '1/ffn_norm': (1,)}
    {'0/ffn_norm': (0,), '1/ffn_norm': (1,)}
    {'0/ffn_norm': (), '1/ffn_norm': (1,)}
    """
    kept = {address: tuple(sorted(own)) for address, own in shares.items()}
    found = [dict(kept)]
    best = most_attended(shares, 1)
    cuts = [(mean, a, m) for a, own in shares.items() for m, mean in own.items() if m not in best[a]]
    for _, address, member in sorted(cuts):
        kept[address] = tuple(other for other in kept[address] if other != member)
        found.append(dict(kept))
    for layer in sorted({_layer(address) for address in shares})[:-1]:
        kept |= dropped(shares, [layer])
        found.append(dict(kept))
    return found


def automatic(
    score: Callable[[Mapping[str, tuple[int, ...]]], float],
    order: Sequence[Mapping[str, tuple[int, ...]]],
    tolerance: float,
) -> Mapping[str, tuple[int, ...]]:
    """The furthest of ``order`` found whose score is at most ``tolerance`` (of 0 to 1) below that of its first.

    By bisection: 1 + log2(len(order)) scores, not one for each. That finds the furthest of all where the score only
    falls along the order. It need not, on a few rows: then one further might have done as well, but what is given back
    has been scored itself. Score on validation rows; test rows decide nothing.

    Raises ContinualError for an empty order, and a tolerance below zero.
    """
    if not order or not tolerance >= 0:
        raise ContinualError(f"expected at least one step and a tolerance of 0 or more, got {len(order)}, {tolerance}")
    full = score(order[0])
    good, bad = 0, len(order)
    while bad - good > 1:
        middle = (good + bad) // 2
        if full - score(order[middle]) <= tolerance + 1e-9:  # 0.9 - 0.897 is a little more than 0.003
            good = middle
        else:
            bad = middle
    return order[good]


def _layer(address: str) -> int:
    return int(address.split("/")[0])
