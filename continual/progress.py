"""What a person sees of a run: bars for the stream and the task at hand on a terminal; elsewhere a line a stage."""

from __future__ import annotations

import math
import sys
import time
from multiprocessing import current_process
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from torch import Tensor

from continual.later import Later
from continual.report.grid import short

DAY = 86400.0
NUMBERS = 45
"""Columns of a terminal for "1200/3600 steps, loss 0.123 0:00:00 left", and what stands between."""
MEAN = "loss"
"""The metric that a bar shows. That of a request is NAME/loss, and one may be called mean, as a merging is."""


class Progress(ProgressBar):
    """Lightning's progress bar for a run. The stages of a run are what it learns: tasks, compositions, merged modules.

    ``plan`` says how many there are, ``begin`` names what comes, ``end`` what came out; ``say`` prints a line, ``warn``
    one that must be read.
    """

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        super().__init__()
        self.console = console or Console(file=sys.stderr, quiet=quiet)
        self.title = ""
        self.started = time.perf_counter()
        self._stages = 1  # that are learned now
        self._done = 0
        self._loss: Later | None = None
        self._shown = ""  # the last loss that is known
        self._bars: Bars | None = None
        self._stream, self._task = TaskID(0), TaskID(1)

    def plan(self, name: str, stages: int, done: int = 0) -> None:
        """A run begins, or goes on, with so many stages behind it."""
        self._done = done
        # Of jobs in processes side by side the bars would be drawn over each other.
        if not self.console.is_terminal or current_process().name != "MainProcess":
            return
        columns = (
            TextColumn("{task.description}", markup=False),  # names are nobody's markup
            BarColumn(bar_width=self._bar),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        # A stage may take hours: what is left is judged by all that was done, not by the last half minute.
        self._bars = Bars(*columns, console=self.console, transient=True, speed_estimate_period=DAY)
        self._stream = self._bars.add_task(self._cut(name), total=stages, completed=done, shown="")
        self._task = self._bars.add_task("", shown="")
        self._advance(0)

    def begin(self, title: str, stages: int = 1, started: float | None = None) -> None:
        """Name what is learned next, for example "learn 2/4 rotten-tomatoes", or has been since ``started``."""
        self.title, self._stages = title, stages
        self.started = time.perf_counter() if started is None else started

    def end(self, outcome: str) -> None:
        """A stage is over: what it was, what came out, how long it took."""
        self.say(f"{self.title}: {outcome} ({time.perf_counter() - self.started:.0f} s)")
        self._done += 1
        self._advance(0)

    def skip(self, why: str) -> None:
        """A stage that was planned is left out."""
        self.say(why)
        self._done += 1
        self._advance(0)

    def say(self, line: str) -> None:
        """One line for the person who waits."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """One line that is printed where the run is quiet too."""
        quiet, self.console.quiet = self.console.quiet, False
        self.say(f"warning: {line}")
        self.console.quiet = quiet

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._bars is not None:
            self._loss, self._shown = None, ""
            self._bars.reset(
                self._task, total=trainer.num_training_batches, description=self._cut(self.title), shown=""
            )
            self._bars.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bars is None:
            return
        done, steps = batch_idx + 1, int(trainer.num_training_batches)
        if self._loss is not None and self._loss.arrived:  # a device is not waited for
            loss, self._loss = self._loss.read().item(), None
            self._shown = f", loss {loss:.3f}" if math.isfinite(loss) else self._shown
        every = int(trainer.log_every_n_steps)  # pyright: ignore[reportAttributeAccessIssue]
        if self._loss is None and done % every == 0:
            loss = trainer.callback_metrics.get(MEAN)
            self._loss = None if loss is None else Later(loss)
        self._bars.update(self._task, completed=done, shown=f"{done}/{steps} steps{self._shown}")
        self._advance(self._stages * done / steps)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _advance(self, part: float) -> None:
        """The bar of the stream, with the part of the stages that are learned now."""
        if self._bars is not None:
            total = self._bars.tasks[self._stream].total or 0
            shown = f"{self._done}/{total:.0f} stages"
            self._bars.update(self._stream, completed=min(self._done + part, total), shown=shown)

    @property
    def _bar(self) -> int:
        return 28 if self.console.width >= 100 else 12

    def _cut(self, name: str) -> str:
        """So that the numbers have their room."""
        return short(name, max(16, self.console.width - self._bar - NUMBERS))

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()


def mean_of_finite(losses: Tensor) -> Tensor:
    """Of (N,) losses the mean of those that are finite, NaN where none is; work of the device alone.

    >>> from torch import inf, nan, tensor
    >>> mean_of_finite(tensor([1.0, inf, 3.0, nan]))
    tensor(2.)
    """
    return losses.where(losses.isfinite(), math.nan).nanmean()
