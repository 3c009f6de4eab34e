"""How a layer is changed, one file a method."""

from __future__ import annotations

from typing import Any

from continual import folder
from continual.method.base import Described


def name_of(method: Described) -> str:
    """The name under which ``named`` finds it again: its file's."""
    return folder.name_of(__name__, method)


def named(name: str, values: dict[str, Any]) -> Described:
    """The method a card names; a card can reach no class outside this folder.

    Raises ContinualError for an unknown name or unknown arguments.
    """
    return folder.made(__name__, name, values)
