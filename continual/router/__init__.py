"""Which task a row is of when nobody says, one file a router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from continual import folder
from continual.router.base import Router


def none() -> None:
    """No router: the task of every row is given."""


def name_of(router: Router) -> str:
    """The name under which ``named`` finds it again: its file's."""
    return folder.name_of(__name__, router)


def named(name: str, values: Mapping[str, Any]) -> Router:
    """The router that a file names; a file can reach no class outside this folder."""
    return folder.made(__name__, name, values)
