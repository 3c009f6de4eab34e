"""Loggers of a run. Each function gets the run's folder, id and plain choices, and returns Lightning loggers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from continual.errors import ContinualError

Make = Callable[[Path, str, dict[str, Any]], tuple[Logger, ...]]


def none() -> Make:
    """No logger."""
    return lambda folder, run_id, choices: ()


def csv() -> Make:
    """``<folder>/csv/metrics.csv``."""
    return lambda folder, run_id, choices: (CSVLogger(folder, name="csv", version=""),)


def tensorboard() -> Make:
    """``<folder>/tensorboard``. Raises ContinualError where TensorBoard is not installed."""

    def make(folder: Path, run_id: str, choices: dict[str, Any]) -> tuple[Logger, ...]:
        try:
            return (TensorBoardLogger(folder, name="tensorboard", version=""),)
        except ModuleNotFoundError as error:
            raise ContinualError(
                'logger=tensorboard needs TensorBoard: pip install "continual-adapters[tensorboard]"'
            ) from error

    return make


def wandb(project: str = "continual", offline: bool = True) -> Make:
    """One W&B run per run, in ``<folder>/wandb``, with the machine's details left out."""

    def make(folder: Path, run_id: str, choices: dict[str, Any]) -> tuple[Logger, ...]:
        from wandb import Settings  # a second that other loggers need not wait

        settings = Settings(
            x_disable_meta=True, x_disable_machine_info=True, disable_git=True, x_save_requirements=False, silent=True
        )
        return (
            WandbLogger(
                name=run_id,
                id=run_id,
                project=project,
                save_dir=folder,
                offline=offline,
                config=choices,
                settings=settings,
            ),
        )

    return make
