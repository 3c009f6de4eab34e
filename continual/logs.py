"""Loggers of a run. Each function gets the run's folder, id and plain choices, and returns Lightning loggers.

Every request of a run has a trainer of its own, whose steps begin at 0. Its metrics carry its name
("learn/toxicity/loss"), so that no step of one is taken for one of another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from continual.errors import ContinualError

Make = Callable[[Path, str, dict[str, Any]], tuple[Logger, ...]]


def none() -> Make:
    """No logger."""
    return lambda folder, run_id, choices: ()


def csv() -> Make:
    """``<folder>/csv/version_<n>/metrics.csv``; n counts how often the run went on, and nothing is overwritten."""
    return lambda folder, run_id, choices: (CSVLogger(folder, name="csv"),)


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


def conclude(loggers: Iterable[Logger], metrics: Mapping[str, float]) -> None:
    """The run is over: its metrics, once."""
    for logger in loggers:
        logger.log_metrics({f"metric/{name}": value for name, value in metrics.items()})
        logger.finalize("success")


def close(loggers: Iterable[Logger]) -> None:
    """However the run ended: a W&B run left open would take in the next one of the same process."""
    wandb = sys.modules.get("wandb")
    for logger in loggers:
        if (
            isinstance(logger, WandbLogger)
            and wandb is not None
            and wandb.run is not None
            and wandb.run.id == logger.version
        ):
            wandb.run.finish()
