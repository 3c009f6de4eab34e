"""What a person sees of a run: bars on a terminal, lines elsewhere, and nothing where it is to be quiet."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from rich.console import Console
from torch.utils._python_dispatch import TorchDispatchMode

from continual import progress, trainer
from continual.composition.fusion import Fusion
from continual.even import EvenSteps
from continual.later import Later
from continual.learner import Learner
from continual.method.lora import LoRA
from continual.progress import Progress
from continual.trainer import Machine
from tests import running, tiny
from tests.test_learner import ask

NAN = torch.tensor(torch.nan)


def shown(console: Console) -> str:
    """All that was printed, without the codes of a terminal."""
    assert isinstance(console.file, StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def terminal(**options: Any) -> Console:
    return Console(force_terminal=True, file=StringIO(), width=160, **options)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of five stages on a terminal: three tasks, a head alone and a fusion."""
    console = terminal()
    bars, machine = Progress(console), Machine(log_every=1)
    running.run(tmp_path_factory.mktemp("seen"), progress=bars, machine=machine, compositions=(Fusion(),))
    return shown(console)


def test_on_a_terminal_the_stream_has_a_bar_of_all_its_stages(seen: str) -> None:
    assert re.search(r"toy +[━╸╺ ]+ 0/5 stages", seen)
    assert re.search(r"toy +[━╸╺ ]+ 4/5 stages", seen)


def test_on_a_terminal_the_task_at_hand_has_a_bar_with_its_loss_and_what_is_left(seen: str) -> None:
    for title, steps in (("learn 1/3 toy-0", 8), ("compose fusion of 3 modules for toy-2", 4)):
        assert re.search(rf"{title} +[━╸╺ ]+ {steps}/{steps} steps, loss \d\.\d+ 0:00:00 left", seen)


def test_on_a_narrow_terminal_the_name_is_cut_and_no_number() -> None:
    console = Console(force_terminal=True, file=StringIO(), width=80)
    bars = Progress(console)
    bars.plan("a-stream-with-a-very-long-name", 12)
    step(bars, 1000, torch.tensor(0.5), "compose fusion of 12 modules for tweet-sentiment")
    assert re.search(r"compose fusion of 12 m… ━{12} 1000/1000 steps, loss 0\.500 0:00:00 left", shown(console))
    assert re.search(r"a-stream-with-a-very-l… \S+ 0/12 stages +\S+ left", shown(console))


def test_the_lines_of_a_run_stand_above_the_bars(seen: str) -> None:
    lines = [line for line in seen.splitlines() if re.match(r"learn \d/3 toy-\d: validation", line)]
    assert len(lines) == 3


def test_elsewhere_there_are_lines_only(tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=40)
    running.run(tmp_path, progress=Progress(console))
    lines = shown(console).splitlines()
    assert [line.split(":")[0].split(" ")[0] for line in lines] == ["run", "learn", "learn", "learn"]
    assert console.file.getvalue() == shown(console)  # type: ignore[attr-defined]


def test_quiet_says_nothing_on_a_terminal_either(tmp_path: Path) -> None:
    console = terminal(quiet=True)
    running.run(tmp_path, progress=Progress(console))
    assert shown(console) == ""


def test_jobs_side_by_side_draw_no_bars_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "current_process", lambda: SimpleNamespace(name="LokyProcess-1"))
    console = terminal()
    bars = Progress(console)
    bars.plan("toy", 3)
    step(bars, 1, torch.tensor(0.5))
    assert shown(console) == ""


def test_what_is_left_of_a_run_that_goes_on_is_counted_from_where_it_stood() -> None:
    console = terminal()
    bars = Progress(console)
    bars.plan("toy", 4, done=3)
    step(bars, 1, torch.tensor(0.5))
    bars.end("well")
    step(bars, 1, torch.tensor(0.5))
    assert "3/4 stages" in shown(console)
    assert "4/4 stages" in shown(console)


def test_a_name_is_shown_as_text_whatever_is_in_it() -> None:
    console = terminal()
    bars = Progress(console)
    bars.plan("toy", 1)
    step(bars, 1, torch.tensor(0.5), "learn 1/1 [/bold]\x1b[31m[red]x")
    assert "learn 1/1 [/bold]\ufffd[31m[red]x " in shown(console)


class Waiting(TorchDispatchMode):
    """Where the host asks a tensor for a number."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "_local_scalar_dense" not in str(func), "a device would be waited for"
        return func(*args, **(kwargs or {}))


def test_a_loss_that_has_not_arrived_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Later, "arrived", property(lambda self: False))
    console = terminal()
    bars = Progress(console)
    bars.plan("toy", 1)
    with Waiting():
        step(bars, 50, torch.tensor(0.5))
    assert "50/50 steps" in shown(console)
    assert "loss" not in shown(console)


def step(
    bars: Progress,
    steps: int,
    loss: torch.Tensor,
    title: str = "learn 1/1 toy-0",
    then: torch.Tensor | None = None,
) -> None:
    """A training of so many steps, as Lightning tells of it; ``then`` is the loss from the second step on."""
    metrics = {progress.MEAN: loss}
    trainer: Any = SimpleNamespace(num_training_batches=steps, log_every_n_steps=1, callback_metrics=metrics)
    module: Any = None
    bars.begin(title)
    bars.on_train_start(trainer, module)
    for index in range(steps):
        if index and then is not None:
            metrics[progress.MEAN] = then
        bars.on_train_batch_end(trainer, module, None, None, index)
    bars.on_train_end(trainer, module)


def test_without_a_logger_only_the_mean_loss_of_a_group_is_noted_for_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[str, float]] = []
    monkeypatch.setattr(Learner, "log", lambda self, name, value, **_: noted.append((name, float(value))))
    model = tiny.adapted()
    requests = [ask(model, LoRA(rank=2), task, seed=task, batch_size=96, epochs=1) for task in range(2)]
    trainer.learn(model, requests, Machine(group=2, log_every=1), tiny.QUIET)
    [(name, mean)] = noted
    assert name == progress.MEAN
    noted.clear()
    for request in requests:
        trainer.learn(model, [request], Machine(log_every=1), tiny.QUIET)
    assert mean == pytest.approx(sum(loss for _, loss in noted) / 2)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_a_member_that_diverges_is_not_in_the_mean_of_the_others(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """On a GPU the host hears of it some steps later; until then it counts as one that trains."""
    noted: list[float] = []
    monkeypatch.setattr(Learner, "log", lambda self, name, value, **_: noted.append(float(value)))
    model = tiny.adapted()
    one, other = (ask(model, LoRA(rank=2), task, seed=task, batch_size=24, epochs=1) for task in range(2))
    broken = replace(other, head_params={name: t * torch.nan for name, t in other.head_params.items()})
    if late:
        monkeypatch.setattr(EvenSteps, "look", lambda self, wait: None)
        monkeypatch.setattr(trainer, "captures", lambda machine: True)
    trainer.learn(model, [one, broken], Machine(group=2, log_every=1), tiny.QUIET)
    found = list(noted)
    noted.clear()
    trainer.learn(model, [one], Machine(log_every=1), tiny.QUIET)
    assert len(found) == 4
    assert found == pytest.approx(noted, rel=1e-4)


def test_the_mean_of_losses_asks_a_device_for_nothing_and_is_no_number_where_none_is() -> None:
    with Waiting():
        some, none = progress.mean_of_finite(torch.tensor([1.0, math.inf, 3.0])), progress.mean_of_finite(NAN[None])
    assert some == 2
    assert none.isnan()


def test_a_loss_that_is_no_number_leaves_the_last_one_on_the_bar() -> None:
    console = terminal()
    bars = Progress(console)
    bars.plan("toy", 1)
    step(bars, 4, torch.tensor(0.5), then=NAN)
    assert "4/4 steps, loss 0.500" in shown(console)
    assert "nan" not in shown(console)


def test_a_bar_beside_a_logger_shows_the_mean_of_those_that_still_learn(tmp_path: Path) -> None:
    """Lightning keeps the last loss of one that is done; a logger has no line of the mean."""
    seen: list[float] = []

    class Watch(Progress):
        def on_train_batch_end(self, trainer: Any, *given: Any) -> None:
            seen.append(float(trainer.callback_metrics[progress.MEAN]))

    model, logger = tiny.adapted(), CSVLogger(tmp_path)
    requests = [ask(model, LoRA(rank=2), task, seed=task, batch_size=24, epochs=1 + task) for task in range(2)]
    machine = Machine(group=2, log_every=1, loggers=(logger,))
    short, long = trainer.learn(model, requests, machine, Watch(quiet=True))
    with open(Path(logger.log_dir) / "metrics.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    one, other = ([float(line[f"{request.name}/loss"]) for line in lines] for request in requests)
    both = [(a + b) / 2 for a, b in zip(one, other, strict=True)]
    assert (short.steps, long.steps) == (4, 8)
    assert seen == pytest.approx(both[:4] + other[4:])
    assert progress.MEAN not in lines[0]
