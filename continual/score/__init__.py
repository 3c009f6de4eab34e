"""How good answers are, one file a score."""

from __future__ import annotations

from continual import folder
from continual.score.base import Score


def named(name: str) -> Score:
    """The score that a task names. Raises ContinualError for an unknown name, listing the choices."""
    return folder.component(__name__, name)()
