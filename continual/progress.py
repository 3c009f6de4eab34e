"""What a person sees while a run trains: one bar for the step at hand on a terminal, one line per step elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress(ProgressBar):
    """Lightning's progress bar for a run: ``begin`` names what comes, ``say`` prints a line beside the bar."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        super().__init__()
        self.console = console or Console(file=sys.stderr, quiet=quiet)
        self.title = ""
        self.started = time.perf_counter()
        self._bars: Bars | None = None

    def begin(self, title: str, started: float | None = None) -> None:
        """Name the training that starts next, for example "learn 2/4 rotten-tomatoes", or that has started then."""
        self.title = title
        self.started = time.perf_counter() if started is None else started

    def say(self, line: str) -> None:
        """One line for the person who waits."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.console.is_terminal:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._bars = Bars(*columns, console=self.console, transient=True)
        self._bars.add_task(self.title, total=trainer.num_training_batches, loss="–")
        self._bars.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bars is None:
            return
        losses = [float(v) for name, v in trainer.callback_metrics.items() if name.endswith("/loss")]
        shown = f"{sum(losses) / len(losses):.3f}" if losses else "–"
        self._bars.update(self._bars.task_ids[0], completed=batch_idx + 1, loss=shown)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def end(self, outcome: str) -> None:
        """The training is over: what it was, what came out, how long it took."""
        self.say(f"{self.title}: {outcome} ({time.perf_counter() - self.started:.0f} s)")

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
