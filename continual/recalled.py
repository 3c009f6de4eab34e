"""A stored module back in an encoder, simple or composed: with its parents, its mixers and its head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from continual import composition as compositions
from continual import folder, head, merging, method
from continual.adapter import Adapter, flatten, unflatten
from continual.composition.base import Composition
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.errors import ContinualError
from continual.head.base import Head
from continual.merging.base import Merging
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


def member(store: Store, reference: str, encoder: Encoder | None) -> Entry:
    """A stored module that can be composed with others; of this encoder, if it is given.

    Raises ContinualError for another encoder's, and for one that is composed itself.
    """
    entry = store.get(reference)
    if encoder is not None:
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


def merge(
    store: Store, rule: Merging, references: Sequence[str], name: str, head_of: str | None = None
) -> tuple[str, int]:
    """Store what the rule makes of stored modules under the next version of ``name``; returns (digest, version).

    It is a module of their method, with them as parents, and the head and labels of one of them: the first, or
    ``head_of``.

    Raises ContinualError for modules of several encoders, and where the rule cannot be applied to them.
    """
    if rule.rows:
        raise ContinualError(f"{merging.name_of(rule)} is measured on training rows: continual run merging=… has them")
    entries = [member(store, reference, None) for reference in references]
    cards = [entry.card for entry in entries]
    for card in cards:
        require(card, cards[0].encoder)
    made, of = rule.merge(adapters(entries)), entries[0] if head_of is None else member(store, head_of, None)
    require(of.card, cards[0].encoder)
    card = of.card.model_copy(
        update={
            "method": method.name_of(made.method),
            "arguments": folder.arguments(made.method),
            "parents": tuple(entry.digest for entry in entries),
            "origin": {"merging": [merging.name_of(rule), folder.arguments(rule)], "head": of.digest},
        }
    )
    return store.put(name, card, flatten(made.params), of.head)


def _adapter(entry: Entry) -> Adapter:
    return Adapter(method.named(entry.card.method, entry.card.arguments), unflatten(entry.tensors))


def _parent(store: Store, digest: str, reference: str, encoder: Encoder) -> Adapter:
    try:
        entry = store.get(digest)
    except ContinualError as error:
        raise type(error)(
            f"{reference} is composed of modules that must be in the same store, and one cannot be had: {error}; "
            "copy it there, or learn the composition again"
        ) from error
    require(entry.card, encoder)
    return _adapter(entry)
