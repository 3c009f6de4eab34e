"""No logger: the record, the ledger and the dashboard hold everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger


@dataclass(frozen=True)
class Nothing:
    """No logger."""

    def open(self, folder: Path, run_id: str, choices: dict[str, Any]) -> tuple[Logger, ...]:
        return ()
