"""A run of isolated modules holds every order of its tasks: what it says of one is what training in it gives."""

from __future__ import annotations

import json
import math
import shutil
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from continual import drive, reopen
from continual.counterfactual import Orders, Scores, drawn, one, spread_of, spreads
from continual.drive import run_stream
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError, DataError
from continual.evaluate import Evaluate
from continual.ledger import Cell
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.head import HeadOnly
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from continual.metric.base import from_matrix, measure, metrics
from continual.orders import gather, orders
from continual.parts import Parts
from continual.report.orders import show
from continual.report.record import Record
from continual.request import Recipe
from continual.session import Session
from continual.strategy.sequential import Sequential
from continual.stream.base import Stream
from tests import mixed, running
from tests.test_run import diverging

QUICK = Recipe(lr=0.01, epochs=1, batch_size=8)
COUNT = 3
TRAINED = ((2, 0, 1), (1, 2, 0), (2, 1, 0))
METHODS = (Bottleneck(reduction_factor=4), LoRA(rank=2), Prefix(length=2), Full(), HeadOnly())


def parts(root: Path, order: Sequence[int] = range(COUNT), **changes: Any) -> Parts:
    tasks = running.stream(count=COUNT).tasks
    stream = Stream("toy", tuple(tasks[index] for index in order))
    return running.parts(root, **{"stream": stream, "recipe": QUICK, **changes})


def counted(made: Parts, *arguments: Any, **more: Any) -> Orders:
    model = AdaptedEncoder(made.encoder)
    try:
        return orders(made, model, *arguments, **more)
    finally:
        model.release()


def scores(made: Parts) -> Scores:
    model = AdaptedEncoder(made.encoder)
    try:
        with Session(made, model) as session:
            return gather(session)[0]
    finally:
        model.release()


def cells(record: Record) -> list[Cell]:
    """Of the matrix, in the order in which they were written."""
    return [Cell(**cell.model_dump()) for cell in record.cells if cell.stage in ("zero", "learn")]


def there(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """A run that no test changes: each has a copy."""
    made = parts(tmp_path_factory.mktemp("finished"))
    run_stream(made)
    return made


@pytest.fixture
def made(finished: Parts, tmp_path: Path) -> Parts:
    for name in ("runs", "store"):
        shutil.copytree(getattr(finished, name), tmp_path / name)
    return replace(finished, runs=tmp_path / "runs", store=tmp_path / "store")


# Against training


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_three_orders_are_cell_by_cell_what_training_in_them_gives(method: Described, tmp_path: Path) -> None:
    own = parts(tmp_path / "own", method=method)
    run_stream(own)
    known = scores(own)
    for order in TRAINED:
        record = run_stream(parts(tmp_path / str(order), order, method=method))
        assert known.ledger(order).cells == cells(record)
        measured = {name: metric.value for name, metric in record.metrics.items()}
        assert one(known, order).metrics == measured
        assert one(known, order).order == tuple(task.name for task in record.tasks)


EVALUATED = [Evaluate(unseen="none"), Evaluate(unseen="next"), Evaluate(reuse=False), Evaluate(shots=3)]


@pytest.mark.parametrize("evaluate", EVALUATED, ids=str)
def test_it_holds_however_a_run_is_evaluated(evaluate: Evaluate, tmp_path: Path) -> None:
    own = parts(tmp_path / "own", evaluate=evaluate)
    run_stream(own)
    record = run_stream(parts(tmp_path / "other", TRAINED[0], evaluate=evaluate))
    assert scores(own).ledger(TRAINED[0]).cells == cells(record)
    assert counted(own).forwarded == 0  # the second time


def test_it_holds_for_tasks_of_every_kind(tmp_path: Path) -> None:
    """Those without classes have no score before they are learned, and say why."""
    tasks = mixed.tasks(heads=("topic", "names", "degree"))
    own = parts(tmp_path / "own", stream=Stream("mixed", tuple(tasks)))
    run_stream(own)
    other = Stream("mixed", tuple(tasks[index] for index in TRAINED[0]))
    record = run_stream(parts(tmp_path / "other", stream=other))
    assert scores(own).ledger(TRAINED[0]).cells == cells(record)
    assert any(cell.why for cell in cells(record))


def test_the_order_of_the_run_itself_has_the_metrics_of_its_record(made: Parts) -> None:
    record = run_stream(made)
    assert counted(made).run.metrics == {name: metric.value for name, metric in record.metrics.items()}


# What is forwarded


def test_only_what_the_run_lacks_is_forwarded_and_only_once(made: Parts) -> None:
    tasks = made.stream.tasks
    of = [len(task.test) + len(task.train) for task in tasks]  # every training row is a shot: there are few
    before = cells(run_stream(made))
    first, second = counted(made), counted(made)
    assert first.forwarded == sum(of[task] for module in range(COUNT) for task in range(module))
    assert second.forwarded == 0
    assert replace(first, forwarded=0) == second
    assert cells(run_stream(made)) == before


def test_a_call_that_is_stopped_goes_on_where_it_stood(made: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = counted(made)
    book = made.runs / made.run_id / "orders.jsonl"
    lines = book.read_bytes().splitlines(keepends=True)
    assert len(lines) == COUNT * (COUNT - 1) // 2
    book.write_bytes(lines[0] + lines[1][:20])
    again = counted(made)
    assert 0 < again.forwarded < whole.forwarded
    assert replace(again, forwarded=whole.forwarded) == whole
    assert book.read_bytes().splitlines(keepends=True) == lines


def test_a_damaged_module_is_found_when_it_is_read(made: Parts) -> None:
    record = run_stream(made)
    file = made.store / "objects" / record.modules[1].digest / "adapter.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\x01\x02\x03\x04")
    with pytest.raises(ContinualError, match=r"adapter\.safetensors"):
        counted(made)


# What is counted


def test_all_orders_are_counted_where_there_are_no_more(made: Parts) -> None:
    found, known = counted(made, 6), scores(made)
    assert found.metrics == counted(made, 1000).metrics
    table = [one(known, order).metrics for order in permutations(range(COUNT))]
    assert (found.orders, found.every) == (6, True)
    for name, spread in found.metrics.items():
        column = there(row[name] for row in table)
        assert spread.mean == pytest.approx(statistics.fmean(column))
        assert spread.deviation == pytest.approx(statistics.pstdev(column))
        assert {spread.worst, spread.best} == {min(column), max(column)}
        assert spread.interval == (spread.mean, spread.mean)
    assert found.metrics["backward_transfer"].worst == found.metrics["backward_transfer"].best == 0.0
    assert found.metrics["average_accuracy"].deviation < 1e-15
    assert found.metrics["average_incremental_accuracy_macro"].deviation > 1e-3


def test_a_sample_is_an_estimate_with_an_interval(made: Parts) -> None:
    found = counted(made, 4, seed=1)
    assert (found.orders, found.every) == (4, False)
    spread = found.metrics["average_incremental_accuracy_macro"]
    known = scores(made)
    rows = [one(known, order).metrics for order in drawn(COUNT, 4, 1)]
    column = there(row["average_incremental_accuracy_macro"] for row in rows)
    half = 3.182446 * statistics.stdev(column) / 2  # Student's quantile of three degrees
    assert spread.deviation == pytest.approx(statistics.stdev(column))
    assert spread.interval == pytest.approx((spread.mean - half, spread.mean + half))
    assert counted(made, 4, seed=1).metrics == found.metrics != counted(made, 4, seed=2).metrics


def test_the_curve_is_the_mean_on_the_tasks_so_far(made: Parts) -> None:
    found, known = counted(made), scores(made)
    own = there(known.own[task].score for task in range(COUNT))
    for stage, spread in enumerate(found.curve):
        means = [statistics.fmean(own[task] for task in order[: stage + 1]) for order in permutations(range(COUNT))]
        assert (spread.worst, spread.best) == pytest.approx((min(means), max(means)))
        assert spread.mean == pytest.approx(statistics.fmean(own))
        assert spread.run == pytest.approx(statistics.fmean(own[: stage + 1]))


def test_an_order_that_is_asked_for_stands_by_itself(made: Parts) -> None:
    found = counted(made, 2, given=[["toy-2", "toy-0", "toy-1"]])
    assert found.given == [one(scores(made), (2, 0, 1))]


def test_worst_is_the_highest_where_lower_is_better() -> None:
    table = {("a", "b"): 0.25, ("b", "a"): 0.75}
    gain, loss = spread_of(table, None, every=True), spread_of(table, None, every=True, loss=True)
    assert (gain.worst, gain.best, gain.worst_order) == (0.25, 0.75, ("a", "b"))
    assert (loss.worst, loss.best, loss.worst_order) == (0.75, 0.25, ("b", "a"))


def test_a_metric_is_a_loss_where_a_better_end_makes_it_smaller() -> None:
    """Of references: a better diagonal."""
    joint = [[0.9], [0.9, 0.9], [0.9, 0.9, 0.9]]
    poor = [[0.5, 0.2, 0.2], [0.4, 0.5, 0.2], [0.3, 0.3, 0.5]]
    end = [[0.5, 0.2, 0.2], [0.4, 0.5, 0.2], [0.6, 0.6, 0.6]]
    learned = [[0.6, 0.2, 0.2], [0.4, 0.6, 0.2], [0.3, 0.3, 0.6]]
    found = [measure(from_matrix(rows, [0.1] * 3, [9] * 3, [0.5] * 3, joint, [2] * 3)) for rows in (poor, end, learned)]
    for name, metric in metrics().items():
        before, after, diagonal = (ledger[name].value for ledger in found)
        after = diagonal if after == before else after
        assert before is not None
        assert after is not None
        assert not metric.loss or after < before, name
        assert metric.loss or after >= before, name


@pytest.mark.parametrize(("tasks", "count"), [(1, 1), (3, 5), (3, 6), (3, 1000), (15, 1000), (100, 3)])
def test_orders_are_different_orders_of_all_tasks(tasks: int, count: int) -> None:
    found = drawn(tasks, count, seed=0)
    assert len(set(found)) == len(found) == min(count, math.factorial(tasks))
    assert all(sorted(order) == list(range(tasks)) for order in found)


def test_random_orders_have_every_task_at_every_place_alike() -> None:
    found = drawn(8, 4000, seed=0)
    for task in range(8):
        places = [order.index(task) for order in found]
        assert all(abs(places.count(place) - 500) < 5 * math.sqrt(500 * 7 / 8) for place in range(8))


def test_a_thousand_orders_of_fifteen_tasks_take_far_less_than_a_minute() -> None:
    """A tenth of them in a tenth of it, on one core: the rest is the same again."""
    names, count = tuple(f"task {number}" for number in range(15)), 15
    pairs = [(module, task) for module in range(count) for task in range(count) if task != module]
    known = Scores(
        names,
        zero={task: Cell("zero", -1, task, 0.3, 100, key=f"bare {task}") for task in range(count)},
        own={task: Cell("learn", task, task, 0.8 + task / 100, 100, key=f"own {task}") for task in range(count)},
        unseen={(m, t): Cell("learn", m, t, (m * t % 7) / 7, 100, how="ncm", key=f"{m} on {t}") for m, t in pairs},
    )
    began = time.process_time()
    found = [one(known, order) for order in drawn(count, 100, seed=0)]
    assert len(spreads(found, found[0], every=False)) > 15
    assert time.process_time() - began < 6


# What is refused


def test_a_strategy_whose_tasks_depend_on_those_before_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match=r"strategy=sequential .* only a run of strategy=isolated"):
        counted(parts(tmp_path, strategy=Sequential()))


def test_a_run_that_is_not_finished_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match="is not finished; the same continual run goes on"):
        counted(parts(tmp_path))
    assert not (tmp_path / "runs").exists()


def test_a_run_with_a_task_that_diverged_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "learn", diverging("learn/toy-1"))
    own = parts(tmp_path)
    run_stream(own)
    with pytest.raises(ContinualError, match="the training of toy-1 diverged"):
        counted(own)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["toy-0", "toy-1"], "order: toy-2 is not in it; name each of the 3 tasks once"),
        (["toy-0", "toy-1", "toy-3"], "unknown task 'toy-3'; choose from: toy-0, toy-1, toy-2"),
        (["toy-0", "toy-1", "toy-1"], "task 'toy-1' stands there 2 times"),
    ],
)
def test_an_order_that_is_not_one_of_all_tasks_is_refused(made: Parts, order: list[str], said: str) -> None:
    with pytest.raises((ContinualError, DataError), match=said):
        counted(made, given=[order])


def test_fewer_orders_than_one_are_refused(made: Parts) -> None:
    with pytest.raises(ContinualError, match="orders must be at least 1, got 0"):
        counted(made, 0)


def test_a_ledger_whose_old_tasks_change_is_refused(made: Parts) -> None:
    """As one of a shared module would."""
    path = made.runs / made.run_id / "ledger.jsonl"
    with Session(made, AdaptedEncoder(made.encoder)) as session:
        session.ledger.add([Cell("learn", COUNT - 1, 0, 0.123, 24)])
    assert path.exists()
    with pytest.raises(ContinualError, match="another score of a task after a later one"):
        counted(made)


# The command


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.saved_encoder(tmp_path_factory.mktemp("encoder"))


def run(command: Any, encoder: Path, *more: str) -> Path:
    sizes = ["trainer.epochs=1", "threads=1"] if "stream=csv" in more else running.OVERRIDES
    ended = command("run", *sizes, "composition=[]", f"encoder.name={encoder}", "quiet=true", *more)
    assert ended.code == 0, ended.err
    [record] = Path("runs").glob("*/run.json")
    return record.parent


def test_the_command_rebuilds_the_run_and_writes_what_it_prints(command: Any, encoder: Path) -> None:
    folder = run(command, encoder)
    ended = command("orders", folder, "--orders", 5, "--order", "toy-2,toy-1,toy-0")
    assert ended.code == 0, ended.err
    assert "5 random orders of 3 tasks" in ended.out
    assert "1  toy-2, toy-1, toy-0" in ended.out
    written = json.loads((folder / "orders.json").read_text(encoding="utf-8"))
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert written["orders"] == 5
    assert written["forwarded"] > 0
    assert written["run"]["metrics"] == {name: metric["value"] for name, metric in record["metrics"].items()}
    assert written["given"][0]["order"] == ["toy-2", "toy-1", "toy-0"]
    assert command("orders", folder).code == 0
    assert json.loads((folder / "orders.json").read_text(encoding="utf-8"))["forwarded"] == 0


def test_a_run_that_was_moved_is_found_where_it_is(command: Any, encoder: Path) -> None:
    folder = run(command, encoder)
    for name in ("runs", "store"):
        Path(name).rename(f"old-{name}")
    ended = command("orders", f"old-{folder}", "--store", "old-store")
    assert ended.code == 0, ended.err
    assert not Path("runs").exists()
    assert not Path("store").exists()


def test_a_router_is_said_to_be_left_out(command: Any, encoder: Path) -> None:
    ended = command("orders", run(command, encoder, "router=nearest"))
    assert "what a router makes of another order is not counted" in " ".join(ended.out.split())


def test_a_run_of_several_gpus_and_a_folder_of_theirs_is_opened_on_one_device(command: Any, encoder: Path) -> None:
    path = run(command, encoder) / "run.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["config"]["trainer"] |= {"devices": 4, "cache_folder": "nowhere/at/all"}
    path.write_text(json.dumps(value), encoding="utf-8")
    ended = command("orders", path.parent)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_run_of_a_gpu_is_opened_on_the_cpu_where_there_is_none(
    command: Any, encoder: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = run(command, encoder) / "run.json"
    there = command("orders", path.parent)
    (path.parent / "orders.jsonl").unlink()
    value = json.loads(path.read_text(encoding="utf-8"))
    value["config"]["trainer"] |= {"accelerator": accelerator}
    path.write_text(json.dumps(value), encoding="utf-8")
    here = command("orders", path.parent)
    assert (here.code, here.out) == (0, there.out)
    said = f"warning: run {path.parent.name} was made on a GPU, and torch finds none: the CPU answers what is new"
    assert said in " ".join(here.err.split())
    assert "GPU" not in there.err


def test_the_command_refuses_what_is_no_finished_run(command: Any, encoder: Path) -> None:
    folder = run(command, encoder)
    assert "give a finished run's folder, for example runs/ID" in command("orders", "runs").err
    renamed = folder.rename(folder.with_name("mine"))
    assert "a run's folder has its name" in command("orders", renamed).err
    (renamed / "run.json").unlink()
    for gone in (None, "ledger.jsonl"):  # a run that was stopped before it had a row is one too
        if gone is not None:
            (renamed / gone).unlink()
        ended = command("orders", renamed)
        assert f"runs/{renamed.name} is not finished: the same command goes on with it" in ended.err
        assert ended.code == 1


def test_the_command_refuses_a_run_whose_encoder_is_another_now(command: Any, encoder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(encoder, mine)
    folder = run(command, mine)
    tensors = load_file(mine / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] += 0.01
    save_file(tensors, mine / "model.safetensors", {"format": "pt"})
    assert f"run {folder.name} was made with another encoder; restore it" in command("orders", folder).err


def test_the_command_refuses_a_run_whose_rows_are_others_now(command: Any, encoder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        rows = [f"{word} {name} {i},{label}" for i in range(20) for label, word in (("a", "now"), ("b", "then"))]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    folder = run(command, encoder, "stream=csv", "stream.files=[one.csv,two.csv]")
    assert command("orders", folder).code == 0
    with (tmp_path / "two.csv").open("a", encoding="utf-8") as file:
        file.write("\nnow two more,a\n")
    assert f"run {folder.name} was made with another stream; restore it" in command("orders", folder).err


def test_the_command_refuses_a_run_of_another_source(
    command: Any, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(command, encoder)
    monkeypatch.setattr(reopen, "code_digest", lambda: "0" * 64)
    assert "was made with another source of the package" in " ".join(command("orders", folder).err.split())


def test_the_command_refuses_a_run_that_was_made_in_python(command: Any, finished: Parts) -> None:
    ended = command("orders", finished.runs / finished.run_id)
    assert "was made in Python and has no configuration" in ended.err


def test_the_table_fits_a_terminal_and_has_no_code_of_names(made: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    found = counted(made)
    show(replace(found, id="a\x1b[31mb"), Console(width=80))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert "after 3 tasks" in out
    assert asdict(found)["metrics"]
