"""TensorBoard, for ``tensorboard --logdir runs``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from continual.logs.base import absent


@dataclass(frozen=True)
class TensorBoard:
    """``<folder>/tensorboard``."""

    def open(self, folder: Path, run_id: str, choices: dict[str, Any]) -> tuple[Logger, ...]:
        try:
            return (TensorBoardLogger(folder, name="tensorboard", version=""),)
        except ModuleNotFoundError as error:
            raise absent("tensorboard", "TensorBoard") from error
