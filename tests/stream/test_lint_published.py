"""The protocol faults of published code, made again: each is caught. The clean streams raise none."""

from __future__ import annotations

import csv as stdlib_csv
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from continual import predict
from continual.errors import ContinualError, DataError
from continual.session import Session
from continual.strategy.isolated import Isolated
from continual.stream.base import Example, Stream, Task
from continual.stream.batching import test_batches as batches_of
from continual.stream.classes import cut, grouped
from continual.stream.lint import check
from continual.stream.sample import subset
from continual.stream.seeded import seeded
from continual.task_streams import csv, quickstart, toy
from continual.trainer import Machine
from tests import running
from tests.watching import BATCH, SIZES, parts, watch

BANKING = Path(__file__).resolve().parents[3] / "shared" / "data" / "banking77"


def table(path: Path, count: int) -> str:
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = [(f"{path.stem} {i}", "ab"[i % 2]) for i in range(count)]
        stdlib_csv.writer(file).writerows([("text", "label"), *rows])
    return str(path)


# O-LoRA: dev.json and test.json are the same file, for all 15 tasks


def test_olora_dev_is_test(tmp_path: Path) -> None:
    files = {
        name: {"train": table(tmp_path / f"{name}-train.csv", 20)}
        | dict.fromkeys(("valid", "test"), table(tmp_path / f"{name}-test.csv", 10))
        for name in ("yelp", "amazon")
    }
    with pytest.raises(DataError, match="task 'yelp': all 10 test texts are also in valid: dev = test"):
        check(Stream("olora", tuple(csv.tasks(files))))


# IL-LLM: of Banking77, which has no dev split, test is used as dev


@pytest.mark.skipif(not BANKING.is_dir(), reason="Banking77 is not beside the checkout")
def test_illlm_banking77_test_used_as_dev(tmp_path: Path) -> None:
    paths = {split: tmp_path / f"{split}.csv" for split in ("train", "test")}
    for split, path in paths.items():
        path.write_bytes(gzip.decompress((BANKING / f"{split}.csv.gz").read_bytes()))
    files = {split: str(paths[split]) for split in paths}
    [fault] = csv.tasks({"banking77": files | {"valid": files["test"]}}, label="category")
    assert len(fault.test) == 3080
    with pytest.raises(DataError, match="task 'banking77': all 3080 test texts are also in valid: dev = test"):
        check(Stream("banking77", (fault,)))
    [clean] = csv.tasks({"banking77": files}, label="category")
    lines = check(Stream("banking77", (clean,)))
    assert [line.split(";")[0] for line in lines] == [
        "task 'banking77': 7 of 3080 test texts are also in train",
        "task 'banking77': 1 of 1000 valid texts are also in train",
    ]


def test_illlm_a_part_of_test_used_as_dev_in_another_order() -> None:
    [task] = toy.tasks(count=1)
    dev = random.Random(0).sample(list(task.test), 20)
    with pytest.raises(DataError, match="task 'toy-0': all 20 valid texts are also in test: dev = test"):
        check(Stream("illlm", (Task(task.name, task.labels, task.train, dev, task.test),)))


# Progressive Prompts: the first subset is drawn before the only np.random.seed, later ones after all draws before them


def progressive(order: str, choose: Callable[[list[Example], str], list[Example]]) -> list[Task]:
    made = []
    for name in order:
        rows = {split: [Example(f"{name} {split} {i}", i % 2) for i in range(60)] for split in ("train", "test")}
        train = choose(rows["train"], name)
        if name == order[0]:
            np.random.seed(42)  # in the reference this is in the training that follows
        made.append(Task(name, ("no", "yes"), train, rows["test"][:30], rows["test"][30:]))
    return made


def chosen(rows: list[Example], name: str) -> list[Example]:
    return [rows[i] for i in np.random.choice(len(rows), 10, replace=False)]


def sampled(rows: list[Example], name: str) -> list[Example]:
    return subset(rows, 10, 0, name)


def test_progressive_prompts_unseeded_first_subset() -> None:
    with pytest.raises(DataError, match=r"tasks 'a': made twice, their rows differ.*drawn with numpy\.random"):
        seeded(lambda: progressive("abc", chosen))


def test_progressive_prompts_subsets_that_depend_on_the_order_of_tasks() -> None:
    def rows(order: str, choose: Callable) -> dict[str, str]:
        return {task.name: task.digest for task in progressive(order, choose)}

    assert rows("abc", chosen)["c"] != rows("acb", chosen)["c"]
    assert rows("abc", sampled) == rows("acb", sampled)


# IDBR: the last batch of test is dropped; models are selected on the validation rows of all tasks so far


def test_idbr_dropped_last_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at what is forwarded sees the rows that are not; in the loop as it is there are none."""
    plain = Machine(cache=0)  # or the training rows would be read first, for the states that are kept
    assert watch(parts(tmp_path / "clean", machine=plain), monkeypatch).missed(0, "test", 0) == set()
    monkeypatch.setattr(
        predict, "test_batches", lambda lengths, size: [b for b in batches_of(lengths, size) if len(b) == size]
    )
    with pytest.raises(RuntimeError, match=f"{SIZES['valid'] % BATCH} of {SIZES['valid']} rows were not answered"):
        watch(parts(tmp_path / "fault", machine=plain), monkeypatch)


def test_idbr_selection_on_old_tasks_in_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Session.keep

    def selecting(self: Session, key: str, task: Task, request, learned, *more):
        """As a loop would that asks how well the new module does on all tasks so far."""
        if task is self.parts.stream.tasks[1]:
            self.model.load([learned.adapter])
            self.valid_score(self.parts.stream.tasks[0], request.head_params)
        return keep(self, key, task, request, learned, *more)

    monkeypatch.setattr(Session, "keep", selecting)
    assert watch(parts(tmp_path), monkeypatch).stages(0, "valid") == {0, 1}


def test_idbr_selection_on_old_tasks_by_a_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(self: Isolated, stage) -> list[Example]:
        return [*stage.task.train, *(row for old in stage.tasks[:-1] for row in old.valid)]

    monkeypatch.setattr(Isolated, "rows", rows)
    with pytest.raises(DataError, match="task 'toy-0': a strategy read its valid rows"):
        watch(parts(tmp_path), monkeypatch)


# amazon_polarity, with two labels, in the place of Amazon-5


def test_a_wrong_data_set_under_a_right_name() -> None:
    def task(name: str, stars: int) -> Task:
        rows = [[Example(f"{name} {split} {i}", i % stars) for i in range(2 * stars)] for split in range(3)]
        return Task(name, tuple(f"{star + 1} stars" for star in range(stars)), *rows)

    with pytest.raises(DataError, match="'amazon'; only one has '3 stars', '4 stars', '5 stars'"):
        check(Stream("stars", (task("yelp", 5), task("amazon", 2)), "domain"))
    assert check(Stream("stars", (task("yelp", 5), task("amazon", 5)), "domain")) == []


# AdapterFusion, Table 1: models are selected on the split on which they are reported


def test_adapterfusion_selection_and_report_on_one_dev_set() -> None:
    [task] = toy.tasks(count=1)
    with pytest.raises(DataError, match="task 'toy-0': all 48 test texts are also in valid: dev = test"):
        check(Stream("fusion", (Task(task.name, task.labels, task.train, task.valid, task.valid * 2),)))


# Progressive Prompts: half of what is scored is validation, half test, and no one can tell of which sizes


def test_progressive_prompts_halves_stand_in_the_record_with_sizes_and_digest(tmp_path: Path) -> None:
    [task] = toy.tasks(count=1)
    half = len(task.test) // 2
    halved = Task(task.name, task.labels, task.train, task.test[:half], task.test[half:])
    other = Task(task.name, task.labels, task.train, task.test[half:], task.test[:half])
    record = running.run(tmp_path, stream=Stream("toy", (halved,)))
    [said] = record.tasks
    assert (said.train, said.valid, said.test, said.digest) == (96, half, half, halved.digest)
    assert halved.digest != other.digest


# avalanche#1073: one stream, built in two ways, gave different results


def test_avalanche_1073_a_stream_built_in_two_ways_has_one_digest_and_a_changed_row_another(tmp_path: Path) -> None:
    path, lines = table(tmp_path / "a.csv", 40), tmp_path / "a.jsonl"
    with open(path, encoding="utf-8") as file:
        rows = list(stdlib_csv.DictReader(file))
    lines.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    digest = {str(source): Stream("csv", tuple(csv.tasks([str(source)]))).digest for source in (path, lines)}
    assert digest[path] == digest[str(lines)]
    rows[7]["text"] += "!"
    lines.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert Stream("csv", tuple(csv.tasks([str(lines)]))).digest != digest[path]


# yaoyao-liu/class-incremental-learning#19: does the seed mean the order of the classes?


def test_class_incremental_learning_19_order_and_seed_are_two_things() -> None:
    splits = {split: [Example(f"{split} {i}", i % 6) for i in range(120)] for split in ("train", "valid", "test")}

    def dealt(order: int, seed: int) -> dict[str, set[str]]:
        """The classes in their order, and of each the texts that were drawn."""
        tasks = cut(grouped("abcdef", splits, 2, order), train=10, valid=None, test=None, seed=seed, shots=None)
        return {label: {r.text for r in t.train if t.labels[r.label] == label} for t in tasks for label in t.labels}

    classes = {(order, seed): list(dealt(order, seed)) for order in (0, 1) for seed in (0, 1)}
    assert classes[0, 0] == classes[0, 1] != classes[1, 0] == classes[1, 1]
    assert dealt(0, 0) != dealt(0, 1)


# Clean streams


@pytest.mark.parametrize("count", [2, 4, 12])
def test_the_toy_stream_is_clean(count: int) -> None:
    assert check(Stream("toy", seeded(lambda: toy.tasks(count=count)))) == []


@pytest.mark.real
def test_the_quickstart_stream_is_clean() -> None:
    try:
        quickstart.tasks()
    except DataError:
        raise
    except ContinualError as error:
        pytest.skip(f"the corpora are not at hand: {error}")
    assert check(Stream("quickstart", seeded(quickstart.tasks))) == []
