"""``continual sweep``: the jobs that Hydra would make, finished ones left alone, a line for each at the end."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

import continual.conf
from continual import folder, sweep
from continual.ended import Begun, Ended, close, endings
from continual.logs.wandb import WandB
from continual.report.record import load
from tests import running

CONF = Path(continual.conf.__file__).parent
SWEEPS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))
SEARCHES = [name for name in SWEEPS if "hydra/sweeper" in (CONF / "sweep" / f"{name}.yaml").read_text(encoding="utf-8")]
GRIDS = [name for name in SWEEPS if name not in SEARCHES]
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
    """The line of each job: in front of what is to be typed next."""
    return ended.out.rstrip("\n").split("\n\n")[-2].splitlines()


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
    named = [f"experiment={name} seed={seed}: " for name in ("isolated", "replay") for seed in (0, 1)]
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


@pytest.mark.parametrize("launcher", ["basic", "grouped"])
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["trainer.epoch=1,2"], " (is it trainer.epochs?)"),
        (["trainer.epoch=1", "seed=0,1"], " (is it trainer.epochs?)"),
        (["method=bottleneck,lora", "optimizer.reduction_factor=2"], " (is it method.reduction_factor?)"),
        (["method=lora,bottleneck", "optimizer.rank=2,4", "seed=range(3)"], " (is it method.rank?)"),
        (
            ["method=lora,bottleneck", "method.rank=2"],
            "",
        ),  # the first job has it, and with the second nothing is like it
    ],
)
def test_a_wrong_key_is_answered_with_the_one_that_may_be_meant(
    command: Command, given: list[str], meant: str, launcher: str
) -> None:
    ended = command("run", "-m", f"hydra/launcher={launcher}", *given)
    key = next(each for each in given if "." in each.partition("=")[0]).partition("=")[0]
    assert ended.code == 1
    assert f"Could not override '{key}': there is no such key{meant}; continual run --help" in ended.err
    assert ended.err.count("\n") == 1


def test_options_may_be_swept_by_patterns(command: Command, encoder: Path) -> None:
    ended = command("run", "-m", *TINY, f"encoder.name={encoder}", "composition=[]", "method=glob([lor*,ia*])")
    assert ended.code == 0, ended.err
    assert sorted(load(path).config["choices"]["method"][0] for path in Path("runs").glob("*/run.json")) == [
        "ia3",
        "lora",
    ]


def test_it_ends_with_what_to_type_next(command: Command, encoder: Path) -> None:
    given = ["run", "-m", *TINY, f"encoder.name={encoder}", "composition=[]"]
    alone, ended = command("run", *given[2:]), command(*given, "seed=0,1")
    assert alone.out.endswith("modules    store\nnext       continual dash runs\n           continual store store\n")
    found = re.findall(r"^record     (runs/\w+)/run.json", ended.out, re.M)
    assert ended.out.endswith(
        f"\n\nnext       continual dash runs\n           continual compare {found[0]} {found[1]}\n"
    )


def test_jobs_leave_how_they_ended_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    said = [
        Ended((f"seed={n}",), "failed", why="why") if n == 2 else Ended((f"seed={n}",), "finished") for n in range(12)
    ]
    for number in reversed(range(12)):
        said[number].leave(tmp_path, number)
    assert endings(tmp_path) == said


def test_what_another_sweep_has_left_in_a_given_folder_is_no_job_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Begun, "folder", None)
    Ended(("seed=7",), "failed", why="long ago").leave(tmp_path, 7)
    Begun().on_multirun_start(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    assert (Begun.folder, endings(tmp_path)) == (tmp_path, [])


def test_a_sweep_that_lost_its_jobs_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of processes that were killed nothing is left but the launcher's word."""
    assert close([], tmp_path, "the sweep stopped, TerminatedWorkerError: a worker\nwas killed") == 1
    assert "the sweep stopped, TerminatedWorkerError: a worker was killed\n" in capsys.readouterr().err


def needs(plugin: str, extra: str) -> pytest.MarkDecorator:
    absent = (
        importlib.util.find_spec("hydra_plugins") is None or importlib.util.find_spec(f"hydra_plugins.{plugin}") is None
    )
    return pytest.mark.skipif(absent, reason=f"the extra {extra} is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param("joblib", marks=needs("hydra_joblib_launcher", "joblib")),
        pytest.param("submitit_local", marks=needs("hydra_submitit_launcher", "submitit")),
    ],
)
def test_jobs_in_processes_of_their_own_end_as_they_would_in_this_one(
    tmp_path: Path, encoder: Path, launcher: str
) -> None:
    """One of three fails; the others have their records, and the sweep is no success."""
    given = [*TINY, f"encoder.name={encoder}", "composition=[]", "method.reduction_factor=-1,2,4"]
    ended = running.command(tmp_path, "run", "-m", f"hydra/launcher={launcher}", *given)
    assert ended.returncode == 1, ended.stderr
    failed, *others = ended.stdout.strip().split("\n\n")[-2].splitlines()
    assert failed.startswith("method.reduction_factor=-1: failed: method.reduction_factor must be at least 1")
    assert [line.endswith(", finished") for line in others] == [True, True]
    assert len({load(path).id for path in tmp_path.glob("runs/*/run.json")}) == 2
    assert len(list(tmp_path.glob("runs/.hydra/*/*.job.json"))) == 3
    assert len(list(tmp_path.glob("runs/.hydra/*"))) == 1


@pytest.mark.slow
@needs("hydra_optuna_sweeper", "optuna")
def test_optuna_is_told_the_objective_and_says_what_was_best(tmp_path: Path, encoder: Path) -> None:
    small = ["hydra.sweeper.n_trials=3", *TINY, f"encoder.name={encoder}", "objective=learning_accuracy"]
    ended = running.command(tmp_path, "sweep", "search", *small)
    assert ended.returncode == 0, ended.stderr
    values = [float(v) for v in re.findall(r"learning_accuracy (0\.\d+), finished$", ended.stdout, re.M)]
    assert len(values) == 3
    [best] = re.findall(r"^best: optimizer.lr=\S+ method.rank=\d+: (0\.\d+)$", ended.stdout, re.M)
    assert float(best) == max(values)
    records = [load(path) for path in tmp_path.glob("runs/*/run.json")]
    assert sorted(round(r.metrics["learning_accuracy"].value or 0, 4) for r in records) == sorted(values)


@pytest.mark.slow
@needs("hydra_optuna_sweeper", "optuna")
def test_a_search_for_the_worst_is_refused(tmp_path: Path, encoder: Path) -> None:
    given = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "optimizer.lr=interval(0.1,0.2)"]
    ended = running.command(tmp_path, "run", "-m", *given, *TINY, f"encoder.name={encoder}")
    assert ended.returncode == 1
    assert "set hydra.sweeper.direction=maximize" in ended.stderr
    assert not list(tmp_path.glob("runs/*/run.json"))


def test_a_plugin_that_is_not_there_is_named_with_its_extra(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.core.config_store import ConfigStore

    known = ConfigStore.instance().repo["hydra"]
    for group, name in (("launcher", "joblib"), ("launcher", "submitit_slurm"), ("sweeper", "optuna")):
        monkeypatch.delitem(known[group], f"{name}.yaml", raising=False)
        ended = command("run", "-m", f"hydra/{group}={name}", "seed=0,1")
        assert ended.code == 1
        assert re.search(
            rf'hydra/{group}={name} needs a plugin of Hydra: pip install "continual-adapters\[\w+\]"', ended.err
        )


@pytest.mark.parametrize(("more", "count"), [(["-m", "seed=0,1"], 2), (["seed=0"], 1)])
def test_the_jobs_of_a_sweep_are_one_group_of_wandb_and_a_run_alone_is_of_none(
    command: Command, encoder: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], count: int
) -> None:
    groups: list[str | None] = []
    monkeypatch.setattr(WandB, "open", lambda self, *_: groups.append(self.group) or ())
    ended = command("run", *more, "logger=wandb", *TINY, f"encoder.name={encoder}", "composition=[]")
    assert ended.code == 0
    swept = [path.name for path in Path("runs").glob(".hydra/*")]
    assert groups == (swept * count if count > 1 else [None])


# The page about sweeps

DOCS = Path(__file__).parents[1] / "docs" / "sweeps"


def spoken() -> list[list[str]]:
    """The overrides of every ``continual run`` of the page, one value of each that is swept."""
    text = (DOCS / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for block in re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith(("continual run", "continual sweep "))]


@pytest.mark.parametrize("words", spoken(), ids=" ".join)
def test_a_command_of_the_page_composes(words: list[str]) -> None:
    plain = [word for word in words if not word.startswith(("-", "hydra")) and word not in SEARCHES]
    words = [f"sweep={word}" if word in GRIDS else word for word in plain]
    one = [re.sub(r"=(?:[\w.]+\()*([\w.-]+),.*", r"=\1", word) if "[" not in word else word for word in words]
    with initialize_config_module("continual.conf", version_base="1.3"):
        assert compose("run", one).seed in (0, 1, 2)


def test_the_agent_of_a_wandb_sweep_calls_a_run_that_composes() -> None:
    """The command is expanded by W&B's own code."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args, make_launch_sweep_entrypoint

    content = yaml.safe_load((DOCS / "wandb.yaml").read_text(encoding="utf-8"))
    values = {
        key: given["values"][0] if "values" in given else given["min"] for key, given in content["parameters"].items()
    }
    arguments = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    words, expanded = make_launch_sweep_entrypoint(arguments, content["command"])
    assert words is not None
    assert not any("$" in word for word in words)
    called = [*words, *expanded]
    assert called[:2] == ["continual", "run"]
    with initialize_config_module("continual.conf", version_base="1.3"):
        config = compose("run", called[2:])
    assert (config.optimizer.lr, config.method.rank, config.seed) == (values["optimizer.lr"], values["method.rank"], 0)
    assert (config.logger._target_, config.logger.offline) == ("continual.logs.wandb.WandB", False)
    kind, _, metric = content["metric"]["name"].partition("/")
    assert (kind, metric, content["metric"]["goal"]) == ("metric", config.objective, "maximize")


@pytest.mark.parametrize("name", GRIDS)
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


@pytest.mark.parametrize("name", GRIDS)
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
