"""What turns states into answers, one file a head."""

from __future__ import annotations

from continual import folder
from continual.head.base import Head


def named(name: str) -> Head:
    """The head that a task or a card names. Raises ContinualError for an unknown name, listing the choices."""
    return folder.component(__name__, name)()
