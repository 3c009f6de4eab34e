"""One module a task; nothing is shared, so nothing can be forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from continual.strategy.base import Strategy


@dataclass(frozen=True)
class Isolated(Strategy):
    """Each task gets a fresh module of its own, and is always answered by it."""

    independent: ClassVar[bool] = True
