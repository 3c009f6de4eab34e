"""How several stored modules become one without training, one file a rule."""

from __future__ import annotations

from typing import Any

from continual import folder
from continual.merging.base import Merging


def name_of(merging: Merging) -> str:
    """The name under which ``named`` finds it again: its file's."""
    return folder.name_of(__name__, merging)


def named(name: str, values: dict[str, Any]) -> Merging:
    """The merging a card names; a card can reach no class outside this folder.

    Raises ContinualError for an unknown name or unknown arguments.
    """
    return folder.made(__name__, name, values)
