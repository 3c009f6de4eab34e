"""100 modules in our encoder: each way to add them, to switch between them, and to load one more."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paths  # noqa: F401
import torch
from agree import differences, require
from ours import moved
from plain import texts
from plain_form import pooled
from served import seconds
from torch import Tensor

from continual import folder
from continual.adapter import Adapter, flatten, fresh
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import Encoder
from continual.method import name_of
from continual.method.base import Described
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.recalled import recall
from continual.store import Card, EncoderRef, Store
from continual.types import Batch

KINDS: dict[str, Described] = {"lora": LoRA(), "bottleneck": Bottleneck()}
CPU = torch.device("cpu")
NAME = "one-more"


class Ours:
    """``adapters`` are in memory, none of their tensors as it was drawn; one more, the last of them, is in a store."""

    def __init__(self, made: Encoder, kind: str, count: int, tokens: int, place: Path) -> None:
        self.encoder, self.method, self.tokens = made, KINDS[kind], tokens
        self.bare = copy.deepcopy(made.model)
        self.model = AdaptedEncoder(made).eval()
        self.adapters = [moved(one) for one in self.drawn(count)]
        ids, mask, _ = texts(made.model.config.vocab_size, 1, tokens)
        self.batch = Batch(ids, mask, torch.arange(1))
        self.store, self.now = Store(place / "store"), 0
        self.store.put(NAME, card(made, self.method), flatten(self.adapters[-1].params), {})
        self.model.load(self.adapters)

    def drawn(self, count: int) -> list[Adapter]:
        return [fresh(self.method, self.model.shapes, self.model.weights, seed) for seed in range(count)]

    def questions(self) -> dict[str, Callable[..., float]]:
        count = len(self.adapters)
        return {
            "add": lambda: self.taken(lambda: self.model.load(self.adapters)),
            "add_drawn": lambda: self.taken(lambda: self.model.load(self.drawn(count))),
            "add_singly": lambda: self.taken(self.singly),
            "switch": self.switch,
            "switch_alone": lambda: self.taken(lambda: self.model.load([self.adapters[self.next()]])),
            "load": lambda: self.taken(lambda: [self.model.add(one) for one in self.read()]),
            "load_alone": lambda: self.taken(lambda: recall(self.store, NAME, self.encoder).install(self.model)),
            "forward": self.forward,
            "forward_alone": self.forward_alone,
            "forward_bare": lambda times: self.within([], times),
        }

    def taken(self, do: Callable[[], Any]) -> float:
        """Seconds; the modules are loaded before, and again afterwards, which is not counted."""
        started = time.perf_counter()
        do()
        found = time.perf_counter() - started
        self.model.load(self.adapters)
        return found

    def singly(self) -> None:
        """Each beside those that are there."""
        self.model.load([])
        for adapter in self.adapters:
            self.model.add(adapter)

    def read(self) -> Sequence[Adapter]:
        return recall(self.store, NAME, self.encoder).adapters

    def next(self) -> int:
        self.now = (self.now + 37) % len(self.adapters)
        return self.now

    def switch(self) -> float:
        """Of one of a thousand: all are loaded, and a batch says whose its rows are."""
        started = time.perf_counter()
        for _ in range(1000):
            self.batch.member = torch.full((1,), self.next())
        return (time.perf_counter() - started) / 1000

    def forward(self, times: str) -> float:
        self.switch()
        return seconds(self.routed, int(times), CPU, False)

    def forward_alone(self, times: str) -> float:
        return self.within([self.adapters[self.next()]], times)

    def within(self, loaded: Sequence[Adapter], times: str) -> float:
        self.model.load(loaded)
        self.batch.member = None
        found = seconds(self.routed, int(times), CPU, False)
        self.model.load(self.adapters)
        return found

    def routed(self) -> Tensor:
        return self.model.read(self.batch).pooled

    @torch.no_grad()
    def plain(self, number: int) -> Tensor:
        assert self.batch.mask is not None
        return pooled(self.bare, self.adapters[number], self.batch.inputs, self.batch.mask)

    def some(self) -> list[int]:
        return sorted({0, len(self.adapters) // 3, len(self.adapters) - 1})

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Every way of ours gives what the plain form gives of the same module; of two modules, different answers."""
        worst = {"output": 0.0}
        for number in self.some():
            wanted = {"pooled": self.plain(number)}
            self.batch.member = torch.full((1,), number)
            found = [self.routed()]
            self.batch.member = None
            self.model.load([self.adapters[number]])
            found.append(self.routed())
            if number == len(self.adapters) - 1:
                recall(self.store, NAME, self.encoder).install(self.model)
                found.append(self.routed())
            self.model.load(self.adapters)
            for answer in found:
                apart = require("ours", differences({"pooled": answer}, wanted))
                worst = max(worst, apart, key=lambda one: one["output"])
        if torch.allclose(self.plain(self.some()[0]), self.plain(self.some()[-1]), rtol=1e-3):
            raise ArithmeticError("modules answer alike: a switch could not be seen")
        return worst


def card(made: Encoder, method: Described) -> Card:
    return Card(
        kind="adapter",
        method=name_of(method),
        arguments=folder.arguments(method),
        encoder=EncoderRef(name=made.name, revision=made.revision, fingerprint=made.fingerprint),
        pooling=made.pooling,
        head="classify",
        labels=(),
        tensors={},
    )
