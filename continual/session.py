"""What a run has on disk and in memory: its folder, its lock, its ledger, the journal of its modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from continual import head, method, provenance
from continual.adapter import Adapter, flatten, fresh, generator, unflatten
from continual.composition.base import Composition
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError, counted
from continual.evaluate import Evaluator, score_name, score_of
from continual.files import append_line, canonical, read_lines, require_writable, sha256
from continual.head.base import Head
from continual.ledger import Ledger
from continual.memories import Memories
from continual.method.base import Described, Params
from continual.outcomes import Outcomes
from continual.parts import Parts
from continual.predict import row_features
from continual.report.record import Gain, Module, Record, Weights, load
from continual.request import Learn, Learned
from continual.score.base import value
from continual.store import Store, require
from continual.stream.base import Task
from continual.stream.image import ImageReader
from continual.stream.text import Reader
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Kept:
    """A stored module of this run: its journal entry, under the key of the request that it answers.

    memory  digest of what the strategy remembered with it (``memories.py``); empty: nothing
    """

    key: str
    module: Module
    memory: str = ""


class Session:
    """Opens (or re-opens) a run. Use as a context: the run's folder is locked while it is entered.

    A stage is committed once its module is in the journal and its row in the ledger; a killed run goes on behind the
    last committed stage.

    Raises ContinualError when a folder cannot be written, or the same run is going on elsewhere.
    """

    def __init__(self, parts: Parts, model: AdaptedEncoder) -> None:
        self.parts, self.model = parts, model
        self.folder = Path(parts.runs) / parts.run_id
        for path in (parts.runs, parts.store, self.folder):
            require_writable(Path(path))
        self.store = Store(parts.store)
        made = ImageReader if parts.encoder.arch.image else Reader
        self.reader = made(parts.encoder.tokenizer, parts.encoder.max_length)
        self.warnings: list[str] = []
        self.gains: list[Gain] = []
        self.weights: list[Weights] = []
        self._lock = FileLock(self.folder / ".lock")

    def __enter__(self) -> Session:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ContinualError(f"run {self.parts.run_id} is going on in another process; wait for it") from error
        self.ledger = Ledger([task.name for task in self.parts.stream.tasks], self.folder / "ledger.jsonl")
        entries = read_lines(self.folder / "modules.jsonl")
        self.journal = [Kept(e["key"], Module(**e["module"]), e.get("memory", "")) for e in entries]
        self.found = tuple(self.journal)  # when it was opened
        encoder = self.parts.encoder
        if (self.journal or self.ledger.cells) and self.finished is None:
            self.warnings.append("the run was resumed: its seconds, rows and memory are those of the last process")
        salt = sha256(canonical([encoder.fingerprint, encoder.reading, encoder.pooling, encoder.max_length]))
        self.evaluator = Evaluator(
            self.model, self.reader, self.ledger, self.parts.evaluate, salt, self.parts.seed, Outcomes(self.folder)
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    @property
    def finished(self) -> Record | None:
        """The record of this run, if it has come to its end before."""
        path = self.folder / "run.json"
        return load(path) if path.exists() else None

    def kept(self, key: str) -> Kept | None:
        """What the journal holds under the key of a request."""
        return next((kept for kept in self.journal if kept.key == key), None)

    def good(self, index: int) -> Kept | None:
        """The module of a task of the stream; None where it is not learned, or diverged."""
        kept = self.kept(f"learn/{index}")
        return kept if kept is not None and kept.module.status == "ok" else None

    def latest(self, after: int) -> Kept | None:
        """The newest module of the stream once task ``after`` was learned; None: the encoder is still bare."""
        return next((kept for i in range(after, -1, -1) if (kept := self.good(i)) is not None), None)

    def adapter(self, kept: Kept) -> Adapter:
        """The module's tensors, read back from the store. Raises ContinualError where it is another encoder's."""
        entry = self.store.get(kept.module.digest)
        require(entry.card, self.parts.encoder)
        return Adapter(method.named(entry.card.method, entry.card.arguments), unflatten(entry.tensors))

    def fresh(self, kind: Described, name: str) -> Adapter:
        """A new adapter whose values are f(seed, name)."""
        seed = int(generator(self.parts.seed, "init", name).initial_seed())
        return fresh(kind, self.model.shapes, self.model.weights, seed, self.model.absent)

    def bare(self, data: Encoded) -> Tensor:
        """(n, d) features of rows in the bare encoder, float32; of a row in several units their mean."""
        self.model.mix(None)
        self.model.load([])
        return row_features(self.model, data)

    def request(
        self,
        name: str,
        task: Task,
        adapters: tuple[Adapter, ...],
        rows: Any = None,
        composition: Composition | None = None,
        kind: Head | None = None,
    ) -> Learn:
        """A request to learn ``task`` with these adapters; its random streams are f(seed, name)."""
        parts, kind = self.parts, kind or head.named(task.head)
        rng = generator(parts.seed, "head", name)
        return Learn(
            name=name,
            adapters=adapters,
            head=kind,
            head_params=kind.init(parts.encoder.width, len(task.labels), rng),
            train=self.reader(task.train if rows is None else rows, kind, task.labels),
            valid=self.reader(task.valid, kind, task.labels),
            score=score_of(task),
            labels=task.labels,
            recipe=parts.recipe_for(composition),
            lr=parts.rate_for(adapters[0].method, composition),
            seed=int(generator(parts.seed, "order", name).initial_seed()),
            composition=composition,
            losses=self.folder / "losses.jsonl",
        )

    def keep(
        self,
        key: str,
        task: Task,
        request: Learn,
        learned: Learned,
        parents: tuple[str, ...] = (),
        label: str = "",
        how: Mapping[str, Any] | None = None,
    ) -> Kept:
        """Store what was learned and enter it in the journal; what diverged is entered, but not stored.

        ``label`` names it where it is more than its method; ``how`` goes into the card's origin.
        """
        why, alone = learned.diverged or _not_finite(learned), request.composition is None
        label = label or provenance.kind(request, learned)
        name, digest, version, size = provenance.name(self.parts, task, label), "", 0, 0
        if not why:
            tensors = flatten(learned.adapter.params) if alone else learned.mixers
            card = provenance.card(self.parts, task, request, learned, parents, how or {})
            digest, version = self.store.put(name, card, tensors, learned.head_params)
            size = self.store.size(digest)
        module = Module(
            name=name,
            version=version,
            digest=digest,
            kind="adapter" if alone else "composition",
            method=label,
            task=task.name,
            parents=list(parents),
            status="diverged" if why else "ok",
            why=why or learned.cut_short,
            seed=self.parts.seed,
            seconds=round(learned.seconds, 3),
            steps=learned.steps,
            trainable=learned.trainable,
            bytes=size,
            valid_score=None if why else learned.valid_score,
            padding=round(learned.padding, 4),
        )
        memory = Memories(self.folder).put(key, learned.memory) if learned.memory and not why else ""
        return self._entered(key, module, memory)

    def derive(
        self,
        key: str,
        task: Task,
        kept: Kept,
        arguments: dict[str, Any],
        tensors: dict[str, Tensor],
        valid_score: float,
    ) -> Kept:
        """Store what a composition became without training: other arguments, some of its tensors, the same head."""
        entry, name = self.store.get(kept.module.digest), provenance.name(self.parts, task, key)
        origin = {**entry.card.origin, "derived_from": kept.module.digest, "valid_score": valid_score}
        card = entry.card.model_copy(update={"arguments": arguments, "origin": origin})
        digest, version = self.store.put(name, card, tensors, entry.head)
        new = {"name": name, "version": version, "digest": digest, "bytes": self.store.size(digest)}
        new |= {"method": key, "seconds": 0.0, "steps": 0, "valid_score": valid_score}
        return self._entered(key, kept.module.model_copy(update=new))

    def valid_score(self, task: Task, head_params: Params) -> float:
        """On the task's validation rows, of what is loaded in the encoder now."""
        stats = self.evaluator.stats(task, head_params, task.valid)
        return value(score_of(task), stats)

    def _entered(self, key: str, module: Module, memory: str = "") -> Kept:
        kept = Kept(key, module, memory)
        entry = {"key": key, "module": module.model_dump(mode="json")}
        append_line(self.folder / "modules.jsonl", entry | ({"memory": memory} if memory else {}))
        self.journal.append(kept)
        return kept

    def outcome(self, kept: Kept) -> str:
        """One clause for a person."""
        module = kept.module
        if module.valid_score is None:
            return f"DIVERGED, nothing stored: {module.why}"
        task = next(task for task in self.parts.stream.tasks if task.name == module.task)
        name, points = score_name(task), f"{100 * module.valid_score:.1f}"
        valid = f"validation {points} %" if name == "accuracy" else f"validation {name} {points}"
        if module.why:
            return f"DIVERGED, {module.why}: kept as it was before, {valid}"
        return f"{valid}, {module.trainable:,} parameters, {counted(module.steps, 'step')}"


def _not_finite(learned: Learned) -> str:
    """The last step can ruin a module whose last loss was still a number."""
    tensors = {**flatten(learned.adapter.params), **learned.mixers, **learned.head_params}
    lost = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    return f"{lost[0]} is not finite after the last step" if lost else ""
