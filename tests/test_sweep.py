"""``continual sweep``: the jobs that Hydra would make, finished ones left alone, a line for each at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_module

import continual.conf
from continual import folder, sweep
from tests import running

CONF = Path(continual.conf.__file__).parent
SWEEPS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))
CORE = {"isolated", "naive", "joint", "replay", "ewc", "olora", "ranpac", "routed"}
TINY = [*running.OVERRIDES, "stream.count=2"]
SMALL = {"ranpac": ("strategy.features=64",)}
"""What makes an experiment one of seconds."""
Command = Callable[..., running.Ended]


def there(kind: str, name: str) -> bool:
    return name in folder.names(f"continual.{kind}")


def experiments() -> list[str]:
    """Those whose strategy, method and router exist."""
    found = []
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        lines = yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", [])
        chosen = {key.removeprefix("override /"): value for line in lines for key, value in line.items()}
        parts = [(kind, chosen[kind]) for kind in ("strategy", "method", "router") if kind in chosen]
        if "strategy" in chosen and all(there(kind, name) for kind, name in parts):
            found.append(path.stem)
    return found


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.saved_encoder(tmp_path_factory.mktemp("encoder"))


def last(ended: running.Ended) -> list[str]:
    """The lines behind the last empty one."""
    return ended.out.rstrip("\n").rpartition("\n\n")[2].splitlines()


def test_without_a_name_every_sweep_is_listed_with_its_first_line_of_comment(command: Command) -> None:
    ended = command("sweep")
    assert ended.code == 0
    for name in SWEEPS:
        first = (CONF / "sweep" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
        assert f"  {name} " in ended.out
        assert first in ended.out


def test_an_unknown_sweep_is_refused_with_the_choices(command: Command) -> None:
    ended = command("sweep", "klinc")
    assert ended.code not in (0, None)
    assert f"unknown sweep 'klinc'; choose from: {', '.join(SWEEPS)}" in f"{ended.err}{ended.code}"


def test_every_job_has_a_line_and_the_second_time_they_were_finished_before(command: Command, encoder: Path) -> None:
    given = ["quickstart", *TINY, f"encoder.name={encoder}", "experiment=isolated,replay", "seed=0,1"]
    first, second = command("sweep", *given), command("sweep", *given)
    assert (first.code, second.code) == (0, 0)
    named = [f"experiment={name} seed={seed} " for name in ("isolated", "replay") for seed in (0, 1)]
    for ended, how in ((first, ", finished"), (second, ", was finished before")):
        assert all(line.startswith(start) for line, start in zip(last(ended), named, strict=True))
        assert all("average_accuracy 0." in line and line.endswith(how) for line in last(ended))
    assert len(list(Path("runs").glob("*/run.json"))) == 4


def test_a_failed_job_says_why_and_stops_no_other(command: Command, encoder: Path) -> None:
    given = ["quickstart", *TINY, f"encoder.name={encoder}", "experiment=isolated", "seed=0"]
    ended = command("sweep", *given, "method.reduction_factor=-1,2")
    assert ended.code == 1
    assert ": failed: " in last(ended)[0]
    assert last(ended)[1].endswith(", finished")


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_stands_for_three_orders_or_seeds_of_each_experiment(name: str) -> None:
    found = sweep.jobs(name)
    swept = [dict(override.split("=") for override in job) for job in found]
    named = {job["experiment"] for job in swept}
    assert named >= CORE
    assert named <= {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    assert len({tuple(job) for job in found}) == len(found) == 3 * len(named)


def test_what_is_given_takes_the_place_of_what_is_swept() -> None:
    assert sweep.jobs("clinc", ["experiment=ewc", "seed=7", "stream.test=5"]) == [
        ["experiment=ewc", "seed=7", "sweep=clinc", "stream.test=5"]
    ]


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_composes_with_its_first_experiment_and_settings_of_its_own(name: str) -> None:
    content = yaml.safe_load((CONF / "sweep" / f"{name}.yaml").read_text(encoding="utf-8"))
    first = sweep.jobs(name)[0]
    with initialize_config_module("continual.conf", version_base="1.3"):
        config = compose("run", first)
    assert config.strategy._target_.endswith(".Isolated")
    assert config.trainer.epochs == content["trainer"]["epochs"]
    assert config.scenario == content["scenario"]
    assert not config.composition


def of_tags(name: str) -> Sequence[str]:
    return ["sweep=crossner", f"experiment={name}", "stream.train=20", "stream.valid=5", "stream.test=5"]


@pytest.mark.parametrize("name", ["joint", "replay", "ranpac"])
def test_experiments_with_one_head_run_on_tasks_of_tags(command: Command, encoder: Path, name: str) -> None:
    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (data / "crossner").is_dir():
        pytest.skip("needs the data of CrossNER")
    small = SMALL.get(name, ())
    ended = command(
        "run", *of_tags(name), *small, "trainer.epochs=1", f"stream.mirror={data}", f"encoder.name={encoder}"
    )
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("scenario", ["task", "shared"])
@pytest.mark.parametrize("name", experiments())
def test_every_experiment_runs(command: Command, encoder: Path, name: str, scenario: str) -> None:
    """On the toy stream, with a row's task given, and with one head for all labels."""
    small = SMALL.get(name, ())
    given = [f"experiment={name}", f"encoder.name={encoder}", f"scenario={scenario}", "encoder.max_length=32"]
    ended = command("run", *TINY, *given, *small)
    assert ended.code == 0, ended.err
