"""What several devices learn side by side is what one learns. Here all are the CPU; tests/test_gpu.py has two cards."""

from __future__ import annotations

import csv
import os
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.loggers import CSVLogger

from continual import dealt, drive, trainer
from continual.composition.average import Average
from continual.dealt import Dealt, deal
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import fingerprint
from continual.errors import ContinualError
from continual.locked import Locked
from continual.method.bottleneck import Bottleneck
from continual.method.full import Full
from continual.method.lora import LoRA
from continual.request import Learn, Learned, Recipe
from continual.trainer import AHEAD, Machine
from tests import running, tiny
from tests.test_learner import apart, ask, four

CPUS = (torch.device("cpu"),) * 2


@pytest.fixture
def model() -> AdaptedEncoder:
    return tiny.adapted(dtype=torch.float64)


def on_two(model: AdaptedEncoder, machine: Machine | None = None, learn: Any = trainer.learn) -> Dealt:
    return Dealt(model, machine or Machine(group=8), learn, CPUS)


def six(model: AdaptedEncoder) -> list[Learn]:
    """With dropout, different methods, lengths and rates, and one that stops early."""
    requests = [*four(model, epochs=9), ask(model, Bottleneck(8), 2, seed=9), ask(model, LoRA(rank=2), 0, seed=8)]
    requests[1] = replace(requests[1], recipe=replace(requests[1].recipe, patience=1))
    return requests


# Who learns what


def weighed(model: AdaptedEncoder, *work: int) -> list[Learn]:
    """Requests of so many epochs on the same rows."""
    one = ask(model, LoRA(rank=2))
    return [replace(one, recipe=replace(one.recipe, epochs=epochs)) for epochs in work]


ONE = tiny.adapted()


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(1, 4))
def test_every_request_has_one_device_and_no_device_has_much_more_to_do_than_its_share(
    work: list[int], count: int
) -> None:
    parts = deal(weighed(ONE, *work), count)
    assert sorted(i for part in parts for i in part) == list(range(len(work)))
    assert all(part == sorted(part) and part for part in parts)
    assert len(parts) == min(count, len(work))
    loads = [sum(work[i] for i in part) for part in parts]
    assert max(loads) <= sum(work) / count + max(work) * (1 - 1 / count) + 1e-9  # Graham 1966, of any order


def test_equal_requests_are_shared_out_evenly_and_the_longest_begins_on_the_first_device() -> None:
    assert deal(weighed(ONE, *[3] * 6), 2) == [[0, 2, 4], [1, 3, 5]]
    assert deal(weighed(ONE, 1, 2, 9, 3, 2), 2) == [[2], [0, 1, 3, 4]]


def test_long_texts_weigh_more_than_many_short_ones(model: AdaptedEncoder) -> None:
    one = ask(model, LoRA(rank=2))
    wide = replace(one, train=replace(one.train, inputs=[torch.cat([ids] * 3) for ids in one.train.inputs]))
    assert deal([one, one, one, wide], 2) == [[3], [0, 1, 2]]


def test_rows_of_several_units_weigh_what_all_their_units_do(model: AdaptedEncoder) -> None:
    """As a long text in windows, or a question with its options."""
    one = ask(model, LoRA(rank=2))
    inputs = tuple(ids for ids in one.train.inputs for _ in range(3))
    windows = replace(
        one, train=replace(one.train, inputs=inputs, first=3 * one.train.first, row=one.train.row.repeat_interleave(3))
    )
    assert deal([one, one, one, windows], 2) == [[3], [0, 1, 2]]


def test_what_must_be_learned_alone_is_left_to_one_device(model: AdaptedEncoder) -> None:
    full = ask(model, Full())
    mixed = replace(ask(model, LoRA(rank=2)), composition=Average())
    assert full.alone
    assert mixed.alone
    assert not ask(model, LoRA()).alone
    assert deal([mixed], 2) == [[0]]
    assert deal([ask(model, LoRA(rank=2)), full], 2) == [[0, 1]]
    with pytest.raises(ContinualError, match="a composition is learned alone"):
        on_two(model)([mixed, ask(model, LoRA(rank=2))], tiny.QUIET)


# What is learned


def test_two_devices_learn_what_one_does_and_answer_in_the_order_of_the_requests(model: AdaptedEncoder) -> None:
    requests = six(model)
    found = on_two(model)(requests, tiny.QUIET)
    assert 6 < found[1].steps < 54  # stopped early
    for request, learned in zip(requests, found, strict=True):
        assert apart(tiny.train(model, request)[0], learned) <= 1e-10


def test_a_part_is_to_the_bit_what_its_device_learns_without_the_other(model: AdaptedEncoder) -> None:
    requests = six(model)
    parts = deal(requests, 2)
    together = on_two(model)(requests, tiny.QUIET)
    assert len(parts) == 2
    for part in parts:
        alone = trainer.learn(model, [requests[i] for i in part], Machine(group=8), tiny.QUIET)
        for i, learned in zip(part, alone, strict=True):
            assert tiny.equal(learned.adapter.params, together[i].adapter.params)


@pytest.mark.parametrize(
    "machine", [Machine(group=8, precision="bf16-mixed"), Machine(group=8, gradient_checkpointing=True)], ids=str
)
def test_copies_of_the_encoder_read_as_it_does(machine: Machine) -> None:
    model = tiny.adapted()
    requests = [ask(model, Bottleneck(8), task, seed=task) for task in range(2)]
    for request, learned in zip(requests, on_two(model, machine)(requests, tiny.QUIET), strict=True):
        [alone] = trainer.learn(model, [request], machine, tiny.QUIET)
        assert tiny.equal(alone.adapter.params, learned.adapter.params)


def test_a_copy_is_made_once_and_only_where_there_is_something_for_it(model: AdaptedEncoder) -> None:
    made = on_two(model)
    made([ask(model, LoRA(rank=2))], tiny.QUIET)
    assert len(made.seats) == 1
    requests = four(model)
    made(requests, tiny.QUIET)
    first, second = made.seats
    assert second.model is not model
    assert second.trunk is not first.trunk
    assert fingerprint(second.model.encoder) == fingerprint(model.encoder)
    made(requests, tiny.QUIET)
    assert made.seats == [first, second]


def test_what_lies_below_the_modules_is_computed_once_on_each_device(model: AdaptedEncoder) -> None:
    upper = LoRA(rank=2, layers="1-")
    requests = [ask(model, upper, task, seed=task) for task in range(2)]
    made = on_two(model)
    found = made(requests, tiny.QUIET)
    assert [len(seat.trunk.kept) for seat in made.seats] == [1, 1]
    for request, learned in zip(requests, found, strict=True):
        [alone] = trainer.learn(model, [request], Machine(cache=0), tiny.QUIET)
        assert apart(alone, learned) <= 1e-10


def test_parts_train_at_the_same_time_and_none_takes_a_step_before_all_have_begun(model: AdaptedEncoder) -> None:
    """Lightning frees memory of all devices when a training begins, and a step may be one that captures a graph."""
    events: list[str] = []
    meeting, main = threading.Barrier(2, timeout=60), threading.current_thread()

    class Noted(pl.Callback):
        def on_train_start(self, *_: Any) -> None:
            events.append("begun")

        def on_train_batch_start(self, trainer: Any, learner: Any, batch: Any, number: int) -> None:
            events.append("step")
            if number == 1:
                meeting.wait()  # for the other, which must be training too

    def learn(*given: Any) -> list[Learned]:
        *known, watching = given
        if threading.current_thread() is not main:
            time.sleep(0.5)
        return trainer.learn(*known, (Noted(), *watching))

    assert len(on_two(model, learn=learn)(four(model), tiny.QUIET)) == 4
    assert events[:3] == ["begun", "begun", "step"]


def test_a_part_that_cannot_begin_keeps_nobody_waiting(model: AdaptedEncoder) -> None:
    other = Seen()

    def learn(*given: Any) -> list[Learned]:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.5)
            raise Boom
        *known, watching = given
        return trainer.learn(*known, (*watching, other))

    with pytest.raises(Boom):
        on_two(model, learn=learn)(long(model), tiny.QUIET)
    assert other.steps == 0


def test_filters_of_warnings_are_afterwards_what_they_were(model: AdaptedEncoder) -> None:
    before = list(warnings.filters)
    on_two(model)(four(model), tiny.QUIET)
    assert warnings.filters == before


# What goes wrong


class Boom(Exception):
    pass


class Seen(pl.Callback):
    """Counts steps, and fails at one of them."""

    def __init__(self, fails_at: int | None = None, error: type[BaseException] = Boom) -> None:
        self.steps, self.fails_at, self.error = 0, fails_at, error

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps += 1
        if self.steps == self.fails_at:
            raise self.error
        time.sleep(0.002)  # so that the other has its turn


def watched(first: Seen, second: Seen) -> Any:
    """``learn`` with one of them in the thread that asks, the other in the other."""
    main = threading.current_thread()

    def learn(*given: Any) -> list[Learned]:
        *known, watching = given
        mine = first if threading.current_thread() is main else second
        return trainer.learn(*known, (*watching, mine))

    return learn


def long(model: AdaptedEncoder) -> list[Learn]:
    return [ask(model, LoRA(rank=2), task, seed=task, epochs=200) for task in range(2)]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (0, Boom),
        (1, Boom),
        (0, ContinualError),
        (1, ContinualError),
        (0, KeyboardInterrupt),
    ],  # Ctrl-C: the main thread's
)
def test_an_error_in_one_part_ends_the_other_and_is_raised_as_what_it_is(
    number: int, error: type[BaseException], model: AdaptedEncoder
) -> None:
    parts = [Seen(), Seen()]
    parts[number] = Seen(3, error)
    threads = threading.active_count()
    with pytest.raises(error):
        on_two(model, learn=watched(*parts))(long(model), tiny.QUIET)
    assert parts[1 - number].steps < 1200  # of its own
    assert threading.active_count() == threads
    assert len(on_two(model)(four(model), tiny.QUIET)) == 4  # and the next is as ever


def test_an_interrupt_while_the_others_are_waited_for_ends_them_too(model: AdaptedEncoder) -> None:
    """The first part is done, and the thread that asked waits for the second."""
    other, main = Seen(), threading.current_thread()

    def learn(*given: Any) -> list[Learned]:
        *known, watching = given
        if threading.current_thread() is main:
            return []
        threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGINT]).start()
        return trainer.learn(*known, (*watching, other))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            on_two(model, learn=learn)(long(model), tiny.QUIET)
    finally:
        signal.signal(signal.SIGINT, before)
    assert other.steps < 1200


# In a run


@pytest.fixture
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealt, "_devices", lambda machine: CPUS)


def parts_of(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names that each part learns."""
    seen: list[list[str]] = []

    def learn(model: AdaptedEncoder, requests: Sequence[Learn], *rest: Any) -> list[Learned]:
        seen.append([request.name for request in requests])
        return trainer.learn(model, requests, *rest)

    monkeypatch.setattr(drive, "learn", learn)
    return seen


def test_a_run_on_two_devices_leaves_the_record_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_cpus: None
) -> None:
    given = {"method": LoRA(dropout=0.1), "recipe": Recipe(epochs=2, batch_size=8), "compositions": (Average(),)}
    seen = parts_of(monkeypatch)
    two = running.run(tmp_path / "two", machine=Machine(group=4), **given)
    assert sorted(seen[:2]) == [["learn/toy-0", "learn/toy-2"], ["learn/toy-1"]]
    assert all(len(names) == 1 for names in seen[2:])
    one = running.run(tmp_path / "one", machine=Machine(group=1), **given)
    assert one.id == two.id
    assert [cell.score for cell in one.cells] == [cell.score for cell in two.cells]
    for a, b in zip(one.modules, two.modules, strict=True):
        assert (a.name, a.steps, a.trainable, a.status) == (b.name, b.steps, b.trainable, b.status)


def test_runs_side_by_side_are_dealt_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_cpus: None) -> None:
    encoder, machine = running.encoder(), Machine(group=8)
    made = [running.parts(tmp_path, encoder=encoder, machine=machine, seed=seed) for seed in (0, 1)]
    seen = parts_of(monkeypatch)
    drive.run_together(made)
    assert sorted(len(names) for names in seen[:2]) == [3, 3]
    assert all((parts.runs / parts.run_id / "run.json").exists() for parts in made)


def losses(folder: Path, name: str) -> list[tuple[int, float]]:
    with open(folder / "version_0" / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = [(int(row["step"]), row[f"{name}/loss"]) for row in csv.DictReader(file)]
    return [(step, float(loss)) for step, loss in rows if loss]


def test_a_logger_has_the_losses_of_all_parts(tmp_path: Path, model: AdaptedEncoder) -> None:
    requests = four(model)
    for name, count in (("one", 1), ("two", 2)):
        machine = Machine(group=8, log_every=1, loggers=(CSVLogger(tmp_path, name=name),))
        found = Dealt(model, machine, trainer.learn, CPUS[:count])(requests, tiny.QUIET)
    for request, learned in zip(requests, found, strict=True):
        wanted, logged = (losses(tmp_path / name, request.name)[: learned.steps] for name in ("one", "two"))
        assert [step for step, _ in logged] == list(range(learned.steps))
        assert [loss for _, loss in logged] == pytest.approx([loss for _, loss in wanted])


def test_a_logger_is_asked_by_one_thread_at_a_time(tmp_path: Path) -> None:
    class Slow(CSVLogger):
        inside, most = 0, 0

        def log_metrics(self, *_: Any, **__: Any) -> None:
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.01)
            self.inside -= 1

    slow = Slow(tmp_path)
    made = Locked(slow)
    threads = [threading.Thread(target=made.log_metrics, args=({"a": 1.0}, step)) for step in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slow.most == 1
    assert (made.name, made.version) == (slow.name, slow.version)


# Which devices there are


def test_a_cpu_is_one_device() -> None:
    for accelerator in ("cpu", "auto") if not torch.cuda.is_available() else ("cpu",):
        with pytest.raises(ContinualError, match=r"must be 1 on a CPU, got 2: .* choose trainer=gpu"):
            Machine(accelerator, devices=2)
    with pytest.raises(ContinualError, match="must be at least 1, got 0"):
        Machine(devices=0)


def test_no_more_gpus_than_there_are_and_as_many_modules_at_once_as_these_have_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    two = Machine("gpu", devices=2)
    assert (Machine("gpu").ahead, two.ahead) == (AHEAD, 2 * AHEAD)
    assert (replace(two, group=1).ahead, replace(two, group=3).ahead) == (2, 24)
    assert dealt._devices(two) == [torch.device("cuda:1"), torch.device("cuda:0")]
    with pytest.raises(ContinualError, match="must be at most 2, got 3: torch finds no more GPUs"):
        Machine("gpu", devices=3)


def test_a_trainer_is_told_the_device_of_its_thread_and_frees_no_memory_of_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    freed: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("cache"))
    for devices, wanted in ((1, ["cache"]), (2, [])):
        freed.clear()
        made = trainer._trainer(Machine("gpu", devices=devices), [tiny.QUIET], 1)
        assert made.strategy.root_device == torch.device("cuda:1")
        made.accelerator.teardown()
        assert freed == wanted
    trainer.free(Machine("gpu", devices=2))
    assert freed == ["cache"]


@pytest.mark.parametrize(("device", "wanted"), [("cuda", 1), ("cpu", 2)])
def test_beside_a_gpu_the_host_works_on_one_core_and_as_before_when_it_is_done(
    model: AdaptedEncoder, device: str, wanted: int
) -> None:
    seen: list[int] = []
    before = torch.get_num_threads()

    def failing(*_: Any) -> list[Learned]:
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        seen.append(torch.get_num_threads())
        raise ContinualError("no")

    torch.set_num_threads(2)
    try:
        with pytest.raises(ContinualError, match="no"):
            Dealt(model, Machine(), failing, [torch.device(device)])([ask(model, LoRA())], tiny.QUIET)
        assert (seen, torch.get_num_threads()) == ([wanted, wanted], 2)
    finally:
        torch.set_num_threads(before)
