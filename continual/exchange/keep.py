"""Imported modules go into a store, with a card like any other."""

from __future__ import annotations

import re

from continual import composition, folder, method
from continual.adapter import flatten
from continual.encoder.frozen import Encoder
from continual.exchange.fusion import Setup
from continual.exchange.page import shown
from continual.exchange.source import NO_HEAD, Imported
from continual.store import Card, EncoderRef, Store


def keep(store: Store, name: str, imported: Imported, encoder: Encoder) -> tuple[str, int]:
    """Under the next version of ``name``; returns (digest, version). The card says where it came from."""
    source = dict(imported.source)
    if isinstance(base := source.get("base_model_name_or_path"), str):
        source["base_model_name_or_path"] = shown(base)
    card = Card(
        kind="adapter",
        method=method.name_of(imported.adapter.method),
        arguments=folder.arguments(imported.adapter.method),
        encoder=reference(encoder),
        pooling=encoder.pooling,
        head=imported.head_name,
        labels=imported.labels,
        tensors={},
        origin={"from": imported.library, "config": source, "notes": list(imported.notes)},
    )
    return store.put(name, card, flatten(imported.adapter.params), imported.head or {})


def keep_setup(store: Store, name: str, setup: Setup, encoder: Encoder) -> tuple[str, int]:
    """The members under ``name.<member>``, then the composition over them under ``name``."""
    parents = [keep(store, f"{name}.{_plain(own)}", member, encoder)[0] for own, member in setup.members.items()]
    card = Card(
        kind="composition",
        method=composition.name_of(setup.composition),
        arguments=folder.arguments(setup.composition),
        encoder=reference(encoder),
        pooling=encoder.pooling,
        head=NO_HEAD,
        labels=(),
        parents=tuple(parents),
        tensors={},
        origin={"from": "adapterhub", "config": setup.source},
    )
    return store.put(name, card, setup.mixers, {})


def _plain(name: str) -> str:
    """A member's name with the letters that a store's names have."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower())


def reference(encoder: Encoder) -> EncoderRef:
    """The encoder as a card names it."""
    return EncoderRef(name=encoder.name, revision=encoder.revision, fingerprint=encoder.fingerprint)
