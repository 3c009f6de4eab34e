"""Jobs of a multirun learned together: each has what it would have alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from continual import drive, trainer
from continual.composition.fusion import Fusion
from continual.drive import run_stream, run_together
from continual.encoder.adapted import AdaptedEncoder
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.lora import LoRA
from continual.parts import Parts
from continual.report.record import Record, load
from continual.request import Learn, Learned, Recipe
from continual.strategy.replay import Replay
from continual.strategy.sequential import Sequential
from continual.trainer import Machine
from tests import running

ONE = running.encoder()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.saved_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the requests that are answered together."""
    found: list[list[str]] = []

    def watched(model: AdaptedEncoder, requests: list[Learn], *rest: object) -> list[Learned]:
        found.append([request.name for request in requests])
        return trainer.learn(model, requests, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(drive, "learn", watched)
    return found


def parts(root: Path, **changes: object) -> Parts:
    return running.parts(root, encoder=ONE, machine=Machine(group=8), **changes)


def record(made: Parts) -> Record:
    return load(made.runs / made.run_id / "run.json")


def alike(one: Record, two: Record) -> None:
    """But for seconds and rounding."""
    assert one.id == two.id
    assert (one.status, one.certificate is None) == (two.status, two.certificate is None)
    for found in zip(one.cells, two.cells, strict=True):
        assert len({(cell.stage, cell.after, cell.task, cell.how) for cell in found}) == 1
    assert [c.score for c in one.cells] == pytest.approx([c.score for c in two.cells], abs=0.05)
    for a, b in zip(one.modules, two.modules, strict=True):
        assert (a.name, a.method, a.steps, a.trainable, a.status) == (b.name, b.method, b.steps, b.trainable, b.status)


def test_runs_of_other_seeds_rates_and_methods_leave_the_records_that_they_leave_alone(
    tmp_path: Path, seen: list[list[str]]
) -> None:
    changes = [
        {"seed": 0, "recipe": Recipe(epochs=2, batch_size=8, lr=5e-3)},
        {"seed": 1, "recipe": Recipe(epochs=1, batch_size=8)},
        {"seed": 0, "method": LoRA(rank=2), "recipe": Recipe(epochs=2, batch_size=16, patience=1)},
    ]
    run_together([parts(tmp_path / "together", **change) for change in changes])
    assert seen == [["learn/toy-0", "learn/toy-1", "learn/toy-2"] * 3]
    for number, change in enumerate(changes):
        alike(record(parts(tmp_path / "together", **change)), run_stream(parts(tmp_path / str(number), **change)))


def test_what_has_a_past_goes_on_side_by_side_and_what_must_be_alone_is(tmp_path: Path, seen: list[list[str]]) -> None:
    changes = [
        {"strategy": Sequential()}, {"strategy": Replay(size=8)}, {"compositions": (Fusion(),)}, {"method": Full()}
    ]  # fmt: skip
    run_together([parts(tmp_path / "together", **change) for change in changes])
    assert ["learn/toy-0", "learn/toy-0", "learn/toy-0", "learn/toy-1", "learn/toy-2"] in seen
    assert ["learn/toy-1", "learn/toy-1"] in [names[:2] for names in seen]
    alone = [names for names in seen if len(names) == 1]
    assert ["learn/toy-2"] in alone  # full fine-tuning changes the encoder's weights
    for number, change in enumerate(changes):
        alike(record(parts(tmp_path / "together", **change)), run_stream(parts(tmp_path / str(number), **change)))


def test_a_run_that_fails_ends_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = parts(tmp_path, method=Bottleneck(layers="7-"))
    good = [parts(tmp_path, seed=seed) for seed in range(2)]
    run_together([good[0], bad, good[1]])
    assert [record(made).status for made in good] == ["finished"] * 2
    assert not (bad.runs / bad.run_id / "run.json").exists()


Command = Callable[..., running.Ended]


def test_the_launcher_learns_what_all_jobs_ask_for_and_each_is_shown(
    command: Command, encoder: Path, seen: list[list[str]]
) -> None:
    given = [*running.OVERRIDES, "stream.count=2", f"encoder.name={encoder}", "composition=[]", "seed=0,1"]
    rates = ["optimizer.lr=1e-3,1e-2", "trainer.group=8"]
    ended = command("run", "-m", "hydra/launcher=grouped", *given, *rates)
    assert ended.code == 0, ended.err
    assert seen == [["learn/toy-0", "learn/toy-1"] * 4]
    assert ended.out.count("Accuracy, % of test rows") == 4
    grouped = {path.parent.name: load(path) for path in Path("runs").glob("*/run.json")}
    assert len(grouped) == 4
    again = command("run", "-m", *given, *rates, "paths.runs=alone", "paths.store=other")
    assert again.code == 0
    for path in Path("alone").glob("*/run.json"):
        alike(grouped[path.parent.name], load(path))


def test_a_job_that_cannot_be_built_stops_no_other_under_the_launcher(command: Command, encoder: Path) -> None:
    given = [*running.OVERRIDES, "stream.count=2", f"encoder.name={encoder}", "composition=[]"]
    ended = command("run", "-m", "hydra/launcher=grouped", *given, "method.reduction_factor=-1,2")
    assert ended.code == 1
    assert "method.reduction_factor must be at least 1, got -1" in ended.err
    assert len(list(Path("runs").glob("*/run.json"))) == 1
