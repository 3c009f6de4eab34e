"""Requests dealt over the GPUs of a machine: each trains its part, on its own copy of the frozen encoder.

The members of a group share the frozen encoder and nothing else, so no device has anything to say to another. This is
no distributed data parallel (DDP), which averages one module's gradients over devices: here a gradient belongs to one
member, and a member to one device. A part is trained by the ``learn`` that trains all on one device.

Parts are threads of one process: a device is given its work without Python's lock, most of it as one CUDA graph a step,
and nothing needs to be started or sent. What threads share is looked after where it is: ``captured.py`` captures one
graph at a time, ``trainer.py`` keeps Lightning from freeing memory of all devices where others train, and ``locked.py``
lets one training at a time speak to a logger.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch

from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.attention import kernels
from continual.locked import locked
from continual.progress import Progress
from continual.request import Learn, Learned
from continual.trainer import Machine, device_of, free, unwarned
from continual.trunk import Trunk

LONG = 1000
"""Steps of a training in which its few shapes come so often that kernels planned for each of them pay."""
Answers = Callable[..., list[Learned]]
"""``trainer.learn``, or what stands for it."""


@contextmanager
def _one_core(devices: Sequence[torch.device]) -> Iterator[None]:
    """Beside GPUs a thread of this process works on one core: of the few thousand numbers of a batch it goes through
    all before others are awake, and where the cores have other work too it would wait for them in every operation."""
    if devices[0].type != "cuda":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Seat:
    """A device, and what stays on it from one call to the next."""

    device: torch.device
    model: AdaptedEncoder
    trunk: Trunk

    def taken(self) -> AbstractContextManager[Any]:
        """Its device is the current one of this thread."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()


class Dealt:
    """The answers of ``learn``, in the order of the requests, from all devices of a machine.

    They are those of one device up to rounding, since groups are smaller. On the first device the run goes on; its part
    is trained by the thread that asks, so Ctrl-C is as ever, and the bar shows that part's steps. Each other device has
    a copy of the encoder from the first call on that has something for it. ``Learned.seconds`` are a device's: those of
    a part, shared out evenly. Loggers have the losses of all parts.

    devices  None: those of the machine, from the current one on
    """

    def __init__(
        self, model: AdaptedEncoder, machine: Machine, learn: Answers, devices: Sequence[torch.device] | None = None
    ) -> None:
        self.machine, self.learn = machine, learn
        self.devices = tuple(devices or _devices(machine))
        self.seats = [Seat(self.devices[0], model, machine.trunk())]

    def __call__(self, requests: Sequence[Learn], progress: Progress) -> list[Learned]:
        """Raises what the first part that failed raised; the others end at their next step."""
        parts = deal(requests, len(self.devices))
        try:
            with kernels(planned=max(map(_steps, requests)) >= LONG), _one_core(self.devices):
                answers = self._answers([[requests[i] for i in part] for part in parts], progress)
        finally:
            if self.machine.devices > 1:
                free(self.machine)
        found = {
            i: learned for part, own in zip(parts, answers, strict=True) for i, learned in zip(part, own, strict=True)
        }
        return [found[i] for i in range(len(requests))]

    def _answers(self, parts: Sequence[Sequence[Learn]], progress: Progress) -> list[list[Learned]]:
        if len(parts) > 1:
            return self._side_by_side(parts, progress)
        seat = self.seats[0]
        return [self.learn(seat.model, parts[0], self.machine, progress, seat.trunk)]

    def _side_by_side(self, parts: Sequence[Sequence[Learn]], progress: Progress) -> list[list[Learned]]:
        """The first part is trained here, each other in a thread."""
        seats, abreast = self._seated(len(parts)), Abreast(len(parts))
        machine = replace(self.machine, loggers=locked(self.machine.loggers))

        def trained(number: int, shown: Progress) -> list[Learned]:
            seat = seats[number]
            with abreast, seat.taken():
                return self.learn(seat.model, parts[number], machine, shown, seat.trunk, (abreast,))

        with unwarned(), ThreadPoolExecutor(len(parts) - 1, "learn") as pool, abreast:
            others = [pool.submit(trained, i, Progress(quiet=True)) for i in range(1, len(parts))]
            try:
                first = trained(0, progress)
            except Halted:
                first = []
            errors = [other.exception() for other in others]  # which waits for all
            if failed := [error for error in errors if error is not None and not isinstance(error, Halted)]:
                raise failed[0]
            return [first, *(other.result() for other in others)]

    def _seated(self, count: int) -> list[Seat]:
        """So many devices, each with an encoder."""
        model = self.seats[0].model
        if len(self.seats) < count:
            model.mix(None)
            model.load([])  # what is copied is the encoder with its empty sites
        for device in self.devices[len(self.seats) : count]:
            self.seats.append(Seat(device, copy.deepcopy(model).to(device), self.machine.trunk()))
        return self.seats[:count]


def deal(requests: Sequence[Learn], count: int) -> list[list[int]]:
    """For each of ``count`` devices the numbers of its requests, in order; without those devices that get none.

    The longest training first, each to the device that has least to do: tokens that all its epochs read, of all
    units of its rows. What must be learned alone is left to one device, with all that was asked beside it.
    """
    if any(request.alone for request in requests):
        return [list(range(len(requests)))]
    work = [request.recipe.epochs * int(request.train.packed.lengths.sum()) for request in requests]
    parts: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for number in sorted(range(len(requests)), key=lambda i: -work[i]):
        least = loads.index(min(loads))
        parts[least].append(number)
        loads[least] += work[number]
    return [sorted(part) for part in parts if part]


def _steps(request: Learn) -> int:
    return request.recipe.epochs * math.ceil(len(request.train) / request.recipe.batch_size)


class Halted(Exception):
    """A training ended because one beside it failed."""


class Abreast(pl.Callback):
    """Around ``count`` trainings side by side, and a callback of each: none takes a step before all have begun, and
    where one fails the others end at their next step.

    Lightning frees what is cached on all devices when a training begins: no graph may be captured meanwhile.
    """

    def __init__(self, count: int) -> None:
        self._begun, self._failed = threading.Barrier(count), threading.Event()

    def __enter__(self) -> Abreast:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._failed.set()
        self._begun.abort()  # whoever still waits, waits for one that is over

    def on_train_start(self, *_: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            self._begun.wait()

    def on_train_batch_start(self, *_: Any) -> None:
        if self._failed.is_set():
            raise Halted


def _devices(machine: Machine) -> list[torch.device]:
    if device_of(machine).type != "cuda":
        return [torch.device("cpu")]
    first, there = torch.cuda.current_device(), torch.cuda.device_count()
    return [torch.device("cuda", (first + i) % there) for i in range(machine.devices)]
