"""A table of every step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger


@dataclass(frozen=True)
class CSV:
    """``<folder>/csv/version_<n>/metrics.csv``; n counts how often the run went on, and nothing is overwritten."""

    def open(self, folder: Path, run_id: str, choices: dict[str, Any]) -> tuple[Logger, ...]:
        return (CSVLogger(folder, name="csv"),)
