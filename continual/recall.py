"""A stored module back in an encoder, simple or composed: with its parents, its mixers and its head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from continual import composition as compositions
from continual import head, method
from continual.adapter import Adapter, unflatten
from continual.composition.base import Composition
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.errors import ContinualError
from continual.head.base import Head
from continual.method.base import Params
from continual.store import Card, Entry, Store, require


@dataclass(frozen=True)
class Recalled:
    """``adapters``: its own, or those that it is composed of, in the order of its parents.

    ``head`` is None for a module that was stored without one.
    """

    card: Card
    adapters: tuple[Adapter, ...] = field(repr=False)
    head: Head | None
    head_params: Params = field(repr=False)
    composition: Composition | None = None
    mixers: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def install(self, model: AdaptedEncoder) -> None:
        """Load it into the encoder, in place of what is there: the encoder answers as it did when it was stored."""
        model.mix(None)
        if self.composition is None:
            model.load(self.adapters)
        else:
            compositions.restore(model, self.composition, self.adapters, self.mixers)


def recall(store: Store, reference: str, encoder: Encoder) -> Recalled:
    """By digest, ``name`` (its newest version) or ``name/version``; every byte of it and of its parents is verified.

    Raises ContinualError for a module of another encoder, and for a composed one whose parents are not all there.
    """
    entry = store.get(reference)
    require(entry.card, encoder)
    card = entry.card
    kind = head.named(card.head) if entry.head else None
    if card.kind == "adapter":
        return Recalled(card, (_adapter(entry),), kind, entry.head)
    made = compositions.named(card.method, card.arguments)
    parents = tuple(_parent(store, digest, reference, encoder) for digest in card.parents)
    return Recalled(card, parents, kind, entry.head, made, entry.tensors)


def member(store: Store, reference: str, encoder: Encoder) -> Entry:
    """A stored module that can be composed with others.

    Raises ContinualError for another encoder's, and for one that is composed itself.
    """
    entry = store.get(reference)
    require(entry.card, encoder)
    if entry.card.kind != "adapter":
        raise ContinualError(
            f"{reference} is a composition ({entry.card.method}), and compositions are not composed again; "
            f"name the modules that it is over: {', '.join(digest[:16] for digest in entry.card.parents)}"
        )
    return entry


def adapters(entries: Sequence[Entry]) -> tuple[Adapter, ...]:
    """What was stored, as adapters."""
    return tuple(map(_adapter, entries))


def _adapter(entry: Entry) -> Adapter:
    return Adapter(method.named(entry.card.method, entry.card.arguments), unflatten(entry.tensors))


def _parent(store: Store, digest: str, reference: str, encoder: Encoder) -> Adapter:
    try:
        entry = store.get(digest)
    except ContinualError as error:
        raise ContinualError(
            f"{reference} is composed of modules that must be in the same store, and one cannot be had: {error}; "
            "copy it there, or learn the composition again"
        ) from error
    require(entry.card, encoder)
    return _adapter(entry)
