"""The streams' benchmark: jobs to records, records to the page; a second call does nothing; what is expected."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import running

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "streams"
TINY = [*running.OVERRIDES, "stream.count=2"]


@pytest.fixture(scope="module")
def folder():
    """Its scripts import each other by their bare names."""
    names = {path.stem for path in HERE.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    paths = list(sys.path)
    sys.path.insert(0, str(HERE))
    yield importlib.import_module
    sys.path[:] = paths
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def call(place: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "run.py"), "quickstart", "--only", "isolated", "replay"]
    command += ["--records", str(place / "records"), "--work", str(place / "work"), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], list[str]]:
    place = tmp_path_factory.mktemp("streams")
    encoder = running.saved_encoder(place / "encoder")
    given = ["--jobs", "2", "--set", *TINY, "seed=0", f"encoder.name={encoder}"]
    return place, call(place, *given), given


def test_each_job_leaves_a_record_and_no_store(made) -> None:
    place, ended, _ = made
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert {path.stem for path in (place / "records").glob("quickstart/*.json")} == {"isolated-0", "replay-0"}
    assert list((place / "work").glob("*/*/store")) == []


def test_a_record_has_the_runs_own_scores_and_nothing_of_the_machine(made) -> None:
    place, _, _ = made
    text = (place / "records/quickstart/replay-0.json").read_text(encoding="utf-8")
    record = json.loads(text)
    [path] = (place / "work/quickstart/replay-0/runs").glob("*/run.json")
    run = json.loads(path.read_text(encoding="utf-8"))
    scores = {(cell["after"], cell["task"]): cell["score"] for cell in run["cells"] if cell["stage"] == "learn"}
    assert record["learn"][0][1] is None  # nearest class mean, of a task to come
    for after, task in [(0, 0), (1, 0), (1, 1)]:
        assert record["learn"][after][task] == pytest.approx(scores[after, task], abs=1e-6)
    assert record["run"] == run["id"] == path.parent.name
    assert record["trainable"] == [module["trainable"] for module in run["modules"]]
    assert "experiment=replay" in record["overrides"]
    assert str(place) not in text


def test_a_second_call_does_nothing(made) -> None:
    place, _, given = made
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    ended = call(place, *given)
    assert (ended.returncode, ended.stdout) == (0, "0 records are missing\n")
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == before


def test_the_page_has_a_row_for_each_experiment(made, folder) -> None:
    page = folder("report").render(made[0] / "records")
    assert "## quickstart" in page
    assert [line.split(" | ")[0] for line in page.splitlines() if " | 1 | " in line] != []
    assert "| isolated | 1 | " in page
    assert "| replay | 1 | " in page
    assert "| quickstart | isolated: backward transfer is exactly 0 | yes | 0; every cell forwarded again" in page
    assert "| quickstart | naive forgets most | not measured | – |" in page


def test_a_failed_job_is_reported_with_its_last_lines_and_leaves_no_record(tmp_path: Path) -> None:
    ended = call(tmp_path, "--set", *TINY, "seed=0", "encoder.name=nowhere/at-all", "stream.words=-1")
    assert ended.returncode == 1
    assert "2 jobs failed" in ended.stderr
    assert "FAILED quickstart/isolated-0" in ended.stdout
    assert "continual run: " in ended.stdout
    assert list((tmp_path / "records").rglob("*.json")) == []


def test_nothing_starts_after_the_limit(tmp_path: Path) -> None:
    ended = call(tmp_path, "--set", *TINY, "--limit", "-1")
    assert (ended.returncode, list((tmp_path / "work").rglob("log.txt"))) == (0, [])
    assert "not started before the limit: 6 jobs" in ended.stdout


def test_the_committed_page_is_generated_from_the_records(folder) -> None:
    assert (HERE / "RESULTS.md").read_text(encoding="utf-8") == folder("report").render(HERE / "records")


def test_what_the_records_contradict_has_a_reason_and_nothing_else_has_one(folder) -> None:
    read, hold, report = folder("read"), folder("expectations"), folder("report")
    found = read.sweeps(HERE / "records")
    why = [line for name, sweep in found.items() for line in hold.contradicted(name, sweep, report.by_class(sweep))]
    assert sorted(why) == sorted(f"- {sweep}, {what}: {reason}" for (sweep, what), reason in hold.REASONS.items())
    assert hold.contradicted("new", {"naive": scored("naive", 0.5, 0.1), "ewc": scored("ewc", 0.5, 0.2)}, False) == [
        "- new, naive forgets most: no reason is known."
    ]


def record(experiment: str, scenario: str = "class", **more: object) -> dict:
    """As ``compact.py`` makes it, of what the expectations read."""
    metrics = {"average_accuracy": 0.5, "forgetting": 0.1, "backward_transfer": -0.1}
    found = {"sweep": "s", "experiment": experiment, "scenario": scenario, "metrics": metrics, "routing": None}
    return found | {"learn": [[0.5]], "oracle": [[0.9]], "reused": 0, "unchanged": True} | more


def scored(experiment: str, accuracy: float, forgetting: float = 0.1) -> list[dict]:
    metrics = {"average_accuracy": accuracy, "forgetting": forgetting, "backward_transfer": -forgetting}
    return [record(experiment, metrics=metrics)]


def test_what_is_expected_is_held_against_the_records_and_what_is_not_there_is_not_measured(folder) -> None:
    hold = folder("expectations")
    sweep = {"naive": scored("naive", 0.1, 0.9), "joint": scored("joint", 0.9), "replay": scored("replay", 0.5)}
    assert hold.naive_forgets_most(sweep)[0] is True
    assert hold.replay_and_regularisers_lie_between(sweep)[0] is True
    assert hold.prototypes_beat_naive(sweep) == (None, "")
    assert hold.prototypes_beat_naive(sweep | {"ranpac": scored("ranpac", 0.29)})[0] is False
    assert hold.prototypes_beat_naive(sweep | {"ranpac": scored("ranpac", 0.31)})[0] is True
    worse = sweep | {"ewc": scored("ewc", 0.05, 0.95)}
    assert hold.naive_forgets_most(worse)[0] is False
    verdict, measured = hold.replay_and_regularisers_lie_between(worse)
    assert verdict is False
    assert "outside: ewc 5.0 of 2" in measured


def test_isolated_is_exact_only_at_zero_and_with_modules_unchanged(folder) -> None:
    hold = folder("expectations").isolated_is_exact
    exact = {"average_accuracy": 0.5, "forgetting": 0.0, "backward_transfer": 0.0}
    assert hold({"isolated": [record("isolated", metrics=exact)]})[0] is True
    assert hold({"isolated": [record("isolated", metrics=exact | {"backward_transfer": 1e-9})]})[0] is False
    assert hold({"isolated": [record("isolated", metrics=exact, unchanged=False)]})[0] is False
    assert hold({})[0] is None


def test_a_routed_run_answers_by_its_router_and_an_isolated_one_only_with_the_task_given(folder) -> None:
    read, hold = folder("read"), folder("expectations")
    rows = [{"task": None, "route": 0.1, "total": 0.1, "oracle": 0.2}]
    rows += [{"task": None, "route": 0.8, "total": 0.7, "oracle": 0.9}]
    rows += [{"task": 0, "route": 0.3, "total": 0.3, "oracle": 0.3}]
    routed = record("routed", oracle=None, routing={"rows": rows})
    alone = record("isolated", oracle=None)
    assert (read.told_nothing(routed), read.route(routed), read.within(routed)) == (0.7, 0.8, 0.9)
    assert (read.told_nothing(alone), read.given(alone)) == (None, 0.5)
    assert hold.routed_reaches_prototypes({"routed": [routed], "slda": scored("slda", 0.71)})[0] is False
    assert hold.routed_reaches_prototypes({"routed": [routed], "slda": scored("slda", 0.69)})[0] is True
    worse = record("routed", oracle=None, routing={"rows": [{"task": None, "route": 0.2, "total": 0.2, "oracle": 0.9}]})
    both = {"routed": [worse], "routed_learned": [routed], "slda": scored("slda", 0.69)}
    assert hold.routed_reaches_prototypes(both) == (
        True,
        "routed 20.0, routed_learned 70.0; of the prototypes best: slda 69.0",
    )
