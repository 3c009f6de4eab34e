"""Model cards: README.md with front matter, for the Hub and for people."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from continual import assets
from continual.encoder.load import MINILM
from continual.store import Entry

_HUB = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


def hub_id(name: str) -> str | None:
    """What the Hub calls an encoder; None for one that comes from a folder."""
    if name == MINILM and assets.MINILM.hub is not None:
        return assets.MINILM.hub[0]
    return name if re.fullmatch(_HUB, name) else None


def shown(name: str) -> str:
    """An encoder's name as others may see it: of a folder its last part, for the rest says where somebody works."""
    return name if re.fullmatch(_HUB, name) else Path(name).name


def of_peft(entry: Entry, notes: Sequence[str], loader: str) -> str:
    """Beside a folder for ``peft``; ``loader`` is the class of transformers that loads the encoder."""
    base = hub_id(entry.card.encoder.name)
    load = f"""\
from peft import PeftModel
from transformers import {loader}

encoder = {loader}.from_pretrained({json.dumps(base or "the encoder's folder")})
model = PeftModel.from_pretrained(encoder, "this folder").eval()"""
    return _page(entry, "peft", f"{entry.card.method} for {shown(entry.card.encoder.name)}", load, notes)


def of_store(entry: Entry, name: str, source: str) -> str:
    """Beside modules for ``continual store pull``."""
    load = f"""\
import continual
from continual.exchange.hub import pull

store = continual.Store("store")
pull(store, {json.dumps(source)})
entry = store.get({json.dumps(name)})"""
    return _page(entry, "continual", name, load, ())


def _page(entry: Entry, library: str, title: str, load: str, notes: Sequence[str]) -> str:
    card = entry.card
    facts = {
        "method": f"{card.method} {json.dumps(card.arguments, sort_keys=True)}",
        "encoder": f"{shown(card.encoder.name)}, fingerprint `{card.encoder.fingerprint[:16]}…`",
        "pooling": card.pooling,
        "head": card.head,
        "labels": ", ".join(card.labels) or "none",
        "digest": f"`{card.digest}`",
        **_origin(card.origin),
    }
    lines = [f"- **{key}**: {_line(value)}" for key, value in facts.items()]
    said = "".join(f"\nNote: {_line(note)}.\n" for note in notes)
    return f"{_front(entry, library)}\n# {_line(title)}\n\n" + "\n".join(lines) + f"\n{said}\n```python\n{load}\n```\n"


def _front(entry: Entry, library: str) -> str:
    base = hub_id(entry.card.encoder.name)
    lines = ["---", f"library_name: {library}"]
    lines += [f"base_model: {json.dumps(base)}"] if base else []
    lines += ["tags:", *(f"- {json.dumps(tag)}" for tag in ("continual", "adapter", entry.card.method))]
    return "\n".join([*lines, "# license: yours to choose", "---", ""])


def _origin(origin: dict[str, Any]) -> dict[str, str]:
    """Where the first writer got the module; what is no plain value stays in the card."""
    wanted = ("from", "stream", "task", "strategy", "seed", "steps", "trainable")
    found = {key: str(origin[key]) for key in wanted if isinstance(origin.get(key), str | int)}
    score = origin.get("valid_score")
    return {**found, "validation score": f"{score:.4f}"} if isinstance(score, float) else found


def _line(text: str) -> str:
    """One line, and nothing in it that a page would take for a tag."""
    return " ".join(text.split()).replace("<", "&lt;")
