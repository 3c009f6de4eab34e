"""The composition stage of a run: learn to compose what is stored, merge it, prune it; compare with one module."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from continual import composition as compositions
from continual import folder, information, merging, method, prune
from continual.adapter import Adapter, flatten, tensors_digest
from continual.compare import Candidate, compare
from continual.composition.base import Composition
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError, counted
from continual.merging.base import Merging
from continual.parts import Parts
from continual.pruning.base import Pruner
from continual.recalled import Recalled, adapters, member, recall
from continual.request import Learn, Learned
from continual.resumed import Resumed
from continual.session import Kept, Session
from continual.store import Entry
from continual.stream.base import Task

Stage = Generator[list[Learn], list[Learned], None]
Answer = Generator[list[Learn], list[Learned], Kept | None]


@dataclass(frozen=True)
class Still:
    """Modules that stay as they are, without a mixer: the head alone learns."""

    lr: float | None = None
    epochs: int | None = None
    methods: tuple[str, ...] = ()

    sources: ClassVar[Literal["stream", "target"]] = "stream"

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        model.mix(None)
        model.load(adapters)

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        return 0.0


def compose(session: Session) -> Stage:
    """For the target task: the references (head alone, a module per method), each composition, each merging; gains."""
    parts = session.parts
    task = parts.stream.tasks[parts.target_index]
    own = session.good(parts.target_index)
    if not parts.compositions and not parts.mergings:
        return
    if own is None or parts.outputs is not None:
        apart = "modules that share one head are not composed; choose strategy=isolated, or composition=[]"
        _skip(session, "compositions", f"the target {task.name} has no module" if own is None else apart)
        return
    singles = [own]
    if own.module.method != "head":
        yield from _module(session, task, "head")
    candidates: list[Candidate] = []
    for composition in parts.compositions:
        for name in composition.methods:
            if name != own.module.method:
                singles += yield from _module(session, task, name)
        kept = yield from _mix(session, task, composition, own)
        if kept is not None:
            candidates.append(Candidate(compositions.name_of(composition), kept))
            candidates += yield from _pruned(session, task, composition, kept)
    for rule in parts.mergings:
        kept = yield from _merge(session, task, rule, own)
        if kept is not None:
            candidates.append(Candidate(merging.name_of(rule), kept))
    compare(session, task, list({one.key: one for one in singles}.values()), candidates)


def planned(parts: Parts) -> int:
    """How many stages that is, if none is skipped."""
    if (not parts.compositions and not parts.mergings) or parts.outputs is not None:
        return 0
    own = method.name_of(parts.method)
    methods = {name for composition in parts.compositions for name in composition.methods} | {"head"}
    pruned = [c for c in parts.compositions if parts.prune is not None and hasattr(c, "kept")]
    return len(methods - {own}) + len(parts.compositions) + len(pruned) + len(parts.mergings)


def _module(session: Session, task: Task, name: str) -> Generator[list[Learn], list[Learned], list[Kept]]:
    """The target learned with another method. Empty where that diverged."""
    key = f"{name}/{task.name}"
    kept = session.kept(key)
    if kept is None:
        request = session.request(key, task, (session.fresh(method.named(name, {}), key),))
        session.parts.progress.begin(f"learn {name} on {task.name}")
        [learned] = yield [request]
        kept = session.keep(key, task, request, learned)
        session.parts.progress.end(session.outcome(kept))
    return [kept] if kept.module.status == "ok" else []


def _members(session: Session, sources: str, methods: Sequence[str], own: Kept) -> list[Entry]:
    """The stored modules that something is composed of: each once."""
    if sources == "stream":
        count = len(session.parts.stream.tasks)
        found = [kept.module.digest for i in range(count) if (kept := session.good(i)) is not None]
        found += session.parts.source_digests
    else:
        of_target = [session.kept(f"{name}/{own.module.task}") for name in methods if name != own.module.method]
        good = {kept.module.method: kept for kept in of_target if kept is not None and kept.module.status == "ok"}
        good[own.module.method] = own
        found = [good[name].module.digest for name in methods if name in good]
    return [member(session.store, digest, session.parts.encoder) for digest in dict.fromkeys(found)]


def _mix(session: Session, task: Task, composition: Composition, own: Kept) -> Answer:
    """Train the mixer and the target's head over the frozen members, which are proven unchanged afterwards."""
    name = compositions.name_of(composition)
    if (kept := session.kept(name)) is not None:
        return kept if kept.module.status == "ok" else None
    entries = _members(session, composition.sources, composition.methods, own)
    members = adapters(entries)
    try:
        composition.install(session.model, members, 0)
    except ContinualError as error:
        _skip(session, name, str(error))
        return None
    if not session.model.mixers():
        _skip(session, name, f"the {own.module.method} modules act on no site where a mixer could be")
        return None
    request = session.request(name, task, members, composition=composition)
    # The head goes on from that of the target's own module, so a composition starts where the single module ended.
    request = replace(request, head_params=session.store.get(own.module.digest).head)
    session.parts.progress.begin(f"compose {name} of {counted(len(members), 'module')} for {task.name}")
    [learned] = yield [request]
    _require_unchanged(session, session.model.loaded)
    kept = session.keep(name, task, request, learned, tuple(entry.digest for entry in entries))
    session.parts.progress.end(session.outcome(kept))
    return kept if kept.module.status == "ok" else None


def _merge(session: Session, task: Task, rule: Merging, own: Kept) -> Answer:
    """One new module out of the members; the target's head is trained over it."""
    name = merging.name_of(rule)
    if (kept := session.kept(name)) is not None:
        return kept if kept.module.status == "ok" else None
    entries = _members(session, "stream", (), own)
    try:
        fishers = [_fisher(session, entry, rule.rows) for entry in entries] if rule.rows else []
        made = rule.merge(adapters(entries), fishers)
    except ContinualError as error:
        _skip(session, name, str(error))
        return None
    request = session.request(name, task, (made,), composition=Still())
    request = replace(request, head_params=session.store.get(own.module.digest).head)
    session.parts.progress.begin(f"merge {name} of {counted(len(entries), 'module')} for {task.name}")
    [learned] = yield [request]
    _require_unchanged(session, (made,))
    parents, how = tuple(entry.digest for entry in entries), {"merging": [name, folder.arguments(rule)]}
    kept = session.keep(name, task, replace(request, composition=None), learned, parents, name, how)
    session.parts.progress.end(session.outcome(kept))
    return kept if kept.module.status == "ok" else None


def _fisher(session: Session, entry: Entry, rows: int) -> information.Vector:
    """On the training rows of the task that the module was learned on, which must be of this run."""
    names = {kept.module.task for kept in session.journal if kept.module.digest == entry.digest}
    task = next((task for task in session.parts.stream.tasks if task.name in names), None)
    if task is None:
        raise ContinualError(
            f"the module {entry.digest[:16]} was learned on rows that this run has not; leave it out of sources, or "
            "merge by another rule than fisher"
        )
    found = recall(session.store, entry.digest, session.parts.encoder)
    assert found.head is not None
    data = session.reader(task.train, found.head, task.labels)
    return information.fisher(session.model, found.adapters[0], found.head, found.head_params, data, rows)


def _pruned(
    session: Session, task: Task, composition: Composition, kept: Kept
) -> Generator[list[Learn], list[Learned], list[Candidate]]:
    """The composition without the members that it hardly uses, where the run prunes and the composition can be."""
    pruner, name = session.parts.prune, f"{compositions.name_of(composition)}.pruned"
    if pruner is None or not hasattr(composition, "kept"):
        return []
    if (found := session.kept(name)) is None:
        session.parts.progress.begin(f"prune {compositions.name_of(composition)} for {task.name}")
        full = recall(session.store, kept.module.digest, session.parts.encoder)
        try:
            less = _keeping(composition, _choice(session, task, full, pruner))
        except ContinualError as error:
            _skip(session, name, str(error))
            return []
        found = yield from _trained_on(session, task, kept, full, less, name, pruner.epochs)
        session.parts.progress.end(session.outcome(found))
    return [Candidate(name, found)] if found.module.status == "ok" else []


def _choice(session: Session, task: Task, full: Recalled, pruner: Pruner) -> prune.Kept:
    """What stays, by the weights and the scores of validation rows."""

    def scored(less: prune.Kept) -> float:
        assert full.composition is not None
        replace(full, composition=_keeping(full.composition, less)).install(session.model)
        return session.valid_score(task, full.head_params)

    full.install(session.model)
    with compositions.Watch(session.model) as watch:
        session.valid_score(task, full.head_params)
    return pruner.choose(watch.shares(), scored)


def _trained_on(
    session: Session, task: Task, kept: Kept, full: Recalled, less: Composition, name: str, epochs: int
) -> Generator[list[Learn], list[Learned], Kept]:
    """The pruned composition, stored: as it is without epochs, else after its mixers and the head went on learning."""
    gone = {address for address, members in less.kept.items() if not members}  # type: ignore[attr-defined]
    mixers = {key: tensor for key, tensor in full.mixers.items() if key.rsplit("/", 1)[0] not in gone}
    if not epochs:
        replace(full, composition=less, mixers=mixers).install(session.model)
        score = session.valid_score(task, full.head_params)
        return session.derive(name, task, kept, folder.arguments(less), mixers, score)
    request = session.request(name, task, full.adapters, composition=Resumed(less, mixers, epochs))
    [learned] = yield [replace(request, head_params=full.head_params)]
    _require_unchanged(session, session.model.loaded)
    how = {"derived_from": kept.module.digest}
    return session.keep(name, task, replace(request, composition=less), learned, full.card.parents, name, how)


def _keeping(composition: Composition, kept: prune.Kept) -> Composition:
    return replace(composition, kept=dict(kept))  # type: ignore[type-var]


def _require_unchanged(session: Session, given: Sequence[Adapter]) -> None:
    """What is loaded now is bit for bit what was loaded before training."""
    for index, adapter in enumerate(given):
        if tensors_digest(flatten(session.model.take(index).params)) != tensors_digest(flatten(adapter.params)):
            raise RuntimeError(f"training a composition changed its frozen adapter {index}: this is a bug, report it")


def _skip(session: Session, what: str, why: str) -> None:
    session.warnings.append(f"{what} skipped: {why}")
    session.parts.progress.skip(f"{what} skipped: {why}")
