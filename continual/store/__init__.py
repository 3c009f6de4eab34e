"""Adapters on disk."""

from continual.store.card import Card, EncoderRef, require
from continual.store.store import Entry, Store

__all__ = ["Card", "EncoderRef", "Entry", "Store", "require"]
