"""The command, as a person meets it: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from continual import build, cli, drive, folder, overrides
from continual.report.record import Record, load
from continual.store import Store
from tests import running

Command = Callable[..., running.Ended]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.saved_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def run(command: Command, encoder: Path) -> Command:
    """``continual run …`` on the tiny encoder and stream."""
    return lambda *more: command("run", *running.OVERRIDES, "composition=[]", f"encoder.name={encoder}", *more)


def records(root: Path) -> list[Record]:
    return [load(path) for path in root.glob("runs/*/run.json")]


# Without a run


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_says_what_to_type_first(command: Command, arguments: list[str]) -> None:
    ended = command(*arguments)
    assert ended.code == 0
    assert "The first thing to type: continual run" in ended.out
    assert set(cli.COMMANDS) <= set(re.findall(r"continual (\w+)", ended.out))


def test_every_command_is_a_file_of_its_folder() -> None:
    assert sorted(cli.COMMANDS) == folder.names("continual.command")


def test_version(command: Command) -> None:
    assert re.fullmatch(r"continual \d+\.\d+\.\d+\n", command("--version").out)


def test_an_unknown_command_lists_the_commands(command: Command) -> None:
    ended = command("rum")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"continual: no command 'rum'; choose from: {', '.join(cli.COMMANDS)}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["run", "--help"],
            ["method: bitfit, bottleneck, bundle, ", "logger: csv, mlflow, none", "-m method="],
        ),
        (["run", "--cfg", "job"], ["_target_: continual.method.bottleneck.Bottleneck", "seed: 0"]),
        (["run", "method=nothing"], []),
        (["run", "+api_key=hunter22"], []),
    ],
)
def test_what_trains_nothing_does_not_wait_for_torch(tmp_path: Path, arguments: list[str], said: list[str]) -> None:
    code = """
import atexit, sys
from continual.cli import main
atexit.register(lambda: print("torch" in sys.modules))
sys.argv[0] = "continual"
main()
"""
    ended = running.python(code, tmp_path, *arguments)
    assert ended.stdout.endswith("False\n")
    assert all(words in ended.stdout for words in said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("method=lorra", "unknown method 'lorra'; choose from: bitfit, bottleneck, bundle, "),
        ("composition=[mix]", "unknown composition 'mix'; choose from: average, fusion, gates, split, stack, unipelt"),
        ("experiment=big", "unknown experiment 'big'; choose from: agem, "),
        ("method.rnk=3", "Could not override 'method.rnk': there is no such key; continual run --help"),
        (
            "trainer.epoch=3",
            "Could not override 'trainer.epoch': there is no such key (is it trainer.epochs?); continual run --help",
        ),
        ("lr=3", "Could not override 'lr': there is no such key (is it optimizer.lr?); continual run --help"),
        ("trainer=null", "a group takes the name of an option, as in method=lora, not null, a number or nothing; "),
        ("=3", "a group takes the name of an option, as in method=lora, not null, a number or nothing; "),
        ("=lora", "Could not override ''"),
        ("methods=lora", "Could not override 'methods': there is no such key (is it method?); continual run --help"),
        ("method", "Error parsing override 'method': expected key=value; continual run --help"),
        ("seed=0,1", "Ambiguous value for argument 'seed=0,1': for a run of each give -m; for a list"),
        ("seed=${nothing}", "the configuration cannot be resolved: Interpolation key 'nothing' not found"),
        (
            "trainer.gradient_checkpointing=${nothing}",
            "the configuration cannot be resolved: Interpolation key 'nothing'",
        ),
        ("trainer.epochs=0", "trainer.epochs must be at least 1, got 0"),
    ],
)
def test_an_error_is_one_line_without_a_traceback(run: Command, override: str, said: str) -> None:
    ended = run(override)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"continual run: {said}")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["method=[lora,ia3]", "method.rank=4"],
            r"method takes one option, got method=\[lora,ia3\]; choose one of: bitfit, bottleneck, .*; "
            r"for a run of each give -m method=lora,ia3; several as one module are method=bundle",
        ),
        (
            ["-m", "strategy=isolated,[ewc, lwf]"],
            r"strategy takes .*got strategy=\[ewc, lwf\].*-m strategy=ewc,lwf; .*chain",
        ),
        (["logger=[csv,wandb]"], r"logger takes .*; choose one of: csv, mlflow, none, .*; .* -m logger=csv,wandb"),
        (["-m", "method=[lora],[ia3,bitfit]"], r"method takes .*got method=\[ia3,bitfit\].*"),
        (
            ["method=[]"],
            r"method takes one option, got method=\[\]; choose one of: [a-z0-9_, ]*; several .* method=bundle",
        ),
    ],
)
def test_a_list_for_a_group_that_takes_one_option_is_refused(command: Command, given: list[str], said: str) -> None:
    """Hydra would mix the keys of them, and what it says of the others is of the last one."""
    ended = command("run", *given)
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(f"continual run: {said}\n", ended.err)


def test_the_groups_that_take_one_option_are_those_of_one_component(run: Command) -> None:
    assert set(overrides.SINGLE) == set(build.HOMES) - set(build.SEVERAL)
    assert run("method=[lora]", "method.rank=2", "merging=[mean,ties]", "quiet=true").code == 0


@pytest.mark.parametrize("more", [[], ["-m", "seed=0,1"]])
def test_a_secret_on_the_command_line_is_neither_printed_nor_written(
    command: Command, tmp_path: Path, more: list[str]
) -> None:
    ended = command("run", *more, "+logger.api_key=s3ntinel-value")
    assert ended.code == 1
    assert "logger.api_key looks like a secret" in ended.err
    assert "s3ntinel-value" not in ended.out + ended.err
    assert list(tmp_path.iterdir()) == []


# Runs


def test_a_run_prints_what_it_does_and_where_it_left_it(run: Command, tmp_path: Path) -> None:
    ended = run()
    assert ended.code == 0
    [record] = records(tmp_path)
    assert f"runs/{record.id}/run.json" in ended.out
    assert f"runs/{record.id}/dashboard.html" in ended.out
    assert "after toy-2" in ended.out
    lines = ended.err.splitlines()
    assert lines[0] == f"run {record.id}: toy (3 tasks), isolated bottleneck on {record.encoder.name}, seed 0"
    assert [line.split(":")[0] for line in lines[1:]] == [f"learn {i + 1}/3 toy-{i}" for i in range(3)]
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "store"}


def test_a_second_call_says_that_it_is_done(run: Command) -> None:
    first, second = run(), run()
    assert first.out == second.out
    assert "was finished before: nothing to do\n" in second.err
    assert "was finished before: its logger is given nothing" in run("logger=csv").err


def test_quiet_leaves_only_the_table(run: Command) -> None:
    ended = run("quiet=true")
    assert ended.err == ""
    assert "Average accuracy" in ended.out


def test_a_run_with_failures_ends_with_one(run: Command, tmp_path: Path) -> None:
    ended = run("optimizer.lr=1e30", "trainer.epochs=2", "trainer.batch_size=8")
    assert ended.code == 1
    assert "DIVERGED, nothing stored" in ended.err
    assert [record.status for record in records(tmp_path)] == ["finished with failures"]


def test_a_sweep_runs_every_combination_under_its_own_id(run: Command, tmp_path: Path) -> None:
    ended = run("experiment=toy", "-m", "method=bottleneck,lora", "seed=0,1")
    assert ended.code == 0
    made = records(tmp_path)
    assert sorted((record.method, record.seed) for record in made) == [
        ("bottleneck", 0),
        ("bottleneck", 1),
        ("lora", 0),
        ("lora", 1),
    ]
    assert len({record.id for record in made}) == 4
    store = Store(tmp_path / "store")
    assert {len(store.versions(name)) for name in store.names()} == {2}


def test_a_failed_job_stops_no_other_and_all_failures_are_listed(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that a person can mend, and a bug."""
    real = drive.learn

    def learn(model, requests, *rest):
        if requests[0].lr == 0.25:
            raise RuntimeError("a bug\nof two lines")
        return real(model, requests, *rest)

    monkeypatch.setattr(drive, "learn", learn)
    ended = run("-m", "method.reduction_factor=0,16,x", "optimizer.lr=0.25,0.5")
    assert ended.code == 1
    assert [record.config["optimizer"]["lr"] for record in records(tmp_path)] == [0.5]
    assert "RuntimeError: a bug" in ended.err
    tail = ended.err.splitlines()[-6:]
    assert tail[0] == "5 jobs failed:"
    assert sorted(line.split(":")[0].split(" must")[0].strip() for line in tail[1:]) == [
        "a bug, please report it",
        *["method.reduction_factor"] * 4,
    ]


def test_two_sweeps_at_once_share_no_folder(run: Command, tmp_path: Path) -> None:
    run("-m", "seed=0")
    run("-m", "seed=1")
    assert len(list((tmp_path / "runs" / ".hydra").iterdir())) == 2


def test_without_a_terminal_there_are_no_escape_codes(tmp_path: Path, encoder: Path) -> None:
    ended = running.command(tmp_path, "run", *running.OVERRIDES, f"encoder.name={encoder}")
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
    assert "\r" not in ended.stdout + ended.stderr
    assert "Warning" not in ended.stderr


def test_ctrl_c_ends_quickly_and_cleanly_and_the_same_command_goes_on(tmp_path: Path, encoder: Path) -> None:
    arguments = ["run", *running.OVERRIDES, f"encoder.name={encoder}", "composition=[]", "trainer.epochs=150"]
    words = [sys.executable, "-m", "continual", *arguments]
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=running.environment(),
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    try:
        said = [process.stderr.readline(), process.stderr.readline()]  # what runs; the first task is learned
        time.sleep(0.3)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
        assert time.monotonic() - asked < 10
    finally:
        process.kill()
    assert "learn 1/3" in said[1]
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert rest.splitlines()[-1] == "continual run: interrupted; the same command goes on where it stopped"
    again = running.command(tmp_path, *arguments)
    assert again.returncode == 0
    assert "goes on behind" in again.stderr
    assert "learn 1/3 toy-0: done before" in again.stderr


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m continual store nothing | true"
    ended = subprocess.run(["sh", "-c", shell], cwd=tmp_path, env=running.environment(), capture_output=True, text=True)
    assert "Traceback" not in ended.stderr


# Streams of one's own


def csv(path: Path, labels: list[str], rows: int = 40) -> Path:
    lines = [f'"{label} word{i}, and more","{label}"' for i in range(rows) for label in labels]
    path.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return path


def test_two_files_are_a_stream(command: Command, encoder: Path, tmp_path: Path) -> None:
    csv(tmp_path / "Support.csv", ["open", "closed"])
    csv(tmp_path / "reviews.csv", ["good", "bad", "so-so"])
    ended = command(
        *("run", "stream=csv", "stream.files=[Support.csv,reviews.csv]", f"encoder.name={encoder}"),
        *("trainer.epochs=1", "composition=fusion", "threads=1"),
    )
    assert ended.code == 0
    [record] = records(tmp_path)
    assert [(task.name, task.labels) for task in record.tasks] == [
        ("support", ["closed", "open"]),
        ("reviews", ["bad", "good", "so-so"]),
    ]
    assert record.gains[0].task == "support"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("[nowhere.csv]", "nowhere.csv: no such file"),
        ("[empty.csv]", "empty.csv: no rows; expected at least one with 'text', 'label'"),
        ("[headers.csv]", "unknown column 'label'; choose from: category, text"),
        ("[latin.csv]", "latin.csv, line 2: not utf-8 (byte 0xe9); save the file as utf-8"),
        ("{a: {train: good.csv, test: other.csv}}", "labels that train lacks: 'c'"),
        ("[good.pdf]", "unknown extension '.pdf'; choose from: .csv, .jsonl, .tsv"),
        ("[one.csv]", "task 'one'"),
        ("[]", "no files"),
        ("3", "stream.files must be text or a list of text or a mapping of text to text or a mapping of text to text"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    command: Command, encoder: Path, tmp_path: Path, files: str, said: str
) -> None:
    csv(tmp_path / "good.csv", ["a", "b"])
    csv(tmp_path / "other.csv", ["a", "c"])
    csv(tmp_path / "one.csv", ["a"])
    (tmp_path / "empty.csv").write_text("text,label\n")
    (tmp_path / "headers.csv").write_text("text,category\nx,y\n")
    (tmp_path / "latin.csv").write_bytes("text,label\ncafé,a\n".encode("latin-1"))
    ended = command("run", "stream=csv", f"stream.files={files}", f"encoder.name={encoder}")
    assert ended.code == 1
    assert said in ended.err
    assert ended.err.count("\n") == 1


# The store


def test_the_store_is_listed_and_verified(command: Command, run: Command, tmp_path: Path) -> None:
    assert "no modules in store; continual run makes some" in command("store").out
    run()
    ended = command("store")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == [f"toy.toy-{i}.bottleneck/1" for i in range(3)]
    assert command("store", tmp_path / "store").out == ended.out
    path = next((tmp_path / "store").glob("objects/*/head.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    damaged = command("store")
    assert damaged.code == 1
    assert str(path.relative_to(tmp_path)) in damaged.out
    assert len(damaged.out.splitlines()) == 3


@pytest.mark.parametrize("arguments", [["a", "b"], ["--all"]])
def test_a_wrong_call_of_store_shows_the_right_one(command: Command, arguments: list[str]) -> None:
    ended = command("store", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("usage: continual store [FOLDER]")
    asked = command("store", "--help")
    assert (asked.code, asked.out, asked.err) == (0, ended.err, "")


def test_the_environment_is_left_alone(run: Command) -> None:
    before = {key: value for key, value in os.environ.items() if not key.startswith(("HYDRA", "PYTEST"))}
    run("quiet=true")
    after = {key: value for key, value in os.environ.items() if not key.startswith(("HYDRA", "PYTEST"))}
    assert {key: value for key, value in after.items() if key not in before} == {}
