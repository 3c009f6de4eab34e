"""The composition stage of a run: learn to compose what is stored, and compare it with its best single module."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from continual import composition as compositions
from continual import method
from continual.adapter import Adapter, flatten, tensors_digest
from continual.composition.base import Composition, Mixer
from continual.encoder.site import Site
from continual.errors import ContinualError
from continual.evaluate import score_of
from continual.report.record import Gain, Weights
from continual.request import Learn, Learned
from continual.score.base import Floats, paired, value
from continual.session import Kept, Session
from continual.stream.base import Task

Stage = Generator[list[Learn], list[Learned], None]


def compose(session: Session) -> Stage:
    """For the target task: the references (head alone, a module per method), each composition, then the gains."""
    parts = session.parts
    task = parts.stream.tasks[parts.target_index]
    own = session.good(parts.target_index)
    if not parts.compositions:
        return
    if own is None:
        _skip(session, "compositions", f"the target {task.name} has no module")
        return
    singles = [own]
    if own.module.method != "head":
        yield from _module(session, task, "head")
    composed: list[tuple[Composition, Kept]] = []
    for composition in parts.compositions:
        for name in composition.methods:
            if name != own.module.method:
                singles += yield from _module(session, task, name)
        members = _members(session, composition, own)
        kept = yield from _learn(session, task, composition, members, own)
        if kept is not None:
            composed.append((composition, kept))
    _compare(session, task, _distinct(singles), composed)


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


def _members(session: Session, composition: Composition, own: Kept) -> list[Kept]:
    """The stored modules that a composition is over."""
    count = len(session.parts.stream.tasks)
    if composition.sources == "stream":
        return [kept for i in range(count) if (kept := session.good(i)) is not None]
    own_or = {own.module.method: own}
    task = own.module.task
    found = [own_or.get(name) or session.kept(f"{name}/{task}") for name in composition.methods]
    return [kept for kept in found if kept is not None and kept.module.status == "ok"]


def _learn(
    session: Session, task: Task, composition: Composition, members: list[Kept], own: Kept
) -> Generator[list[Learn], list[Learned], Kept | None]:
    """Train the mixer and the target's head over the frozen members, which are proven unchanged afterwards."""
    name = compositions.name_of(composition)
    if (kept := session.kept(name)) is not None:
        return kept if kept.module.status == "ok" else None
    adapters = tuple(session.adapter(kept) for kept in members)
    try:
        composition.install(session.model, adapters, 0)
    except ContinualError as error:
        _skip(session, name, str(error))
        return None
    if not session.model.mixers():
        _skip(session, name, f"the {own.module.method} modules act on no site where a mixer could be")
        return None
    request = session.request(name, task, adapters, composition=composition)
    # The head goes on from that of the target's own module, so a composition starts where the single module ended.
    request = replace(request, head_params=session.store.get(own.module.digest).head)
    session.parts.progress.begin(f"compose {name} of {len(members)} modules for {task.name}")
    [learned] = yield [request]
    _require_unchanged(session, adapters)
    kept = session.keep(name, task, request, learned, tuple(kept.module.digest for kept in members))
    session.parts.progress.end(session.outcome(kept))
    return kept if kept.module.status == "ok" else None


def _compare(session: Session, task: Task, singles: list[Kept], composed: list[tuple[Composition, Kept]]) -> None:
    """Rows of the ledger and gains: each composition against the best single module and against the head alone.

    The best single module is chosen on validation rows; test rows decide nothing.
    """
    references: dict[str, Floats] = {}
    best = max(singles, key=lambda kept: kept.module.valid_score or 0.0)
    heads = [kept for kept in singles if kept.module.method == "head"]
    head_only = heads[0] if heads else session.kept(f"head/{task.name}")
    for stage, kept in (("single", best), ("head", head_only)):
        if kept is not None and kept.module.status == "ok":
            session.model.mix(None)
            session.model.load([session.adapter(kept)])
            references[stage] = _stats(session, task, kept)
            _enter(session, stage, [kept.module.digest], references[stage])
    for composition, kept in composed:
        name = compositions.name_of(composition)
        adapters = [_by_digest(session, digest) for digest in kept.module.parents]
        entry = session.store.get(kept.module.digest)
        compositions.restore(session.model, composition, adapters, entry.tensors)
        with compositions.Watch(session.model) as watch:
            stats = _stats(session, task, kept)
        _enter(session, name, [kept.module.digest], stats)
        session.weights += _weights(session, name, kept, watch)
        session.gains += [_gain(session, name, task, stats, stage, other) for stage, other in references.items()]
    session.model.mix(None)


def _stats(session: Session, task: Task, kept: Kept) -> Floats:
    return session.evaluator.stats(task, session.store.get(kept.module.digest).head)


def _enter(session: Session, stage: str, digests: list[str], stats: Floats) -> None:
    after, index = len(session.parts.stream.tasks) - 1, session.parts.target_index
    if not session.ledger.row(stage, after):
        task = session.parts.stream.tasks[index]
        key = session.evaluator.key(digests, task)
        session.ledger.add([session.evaluator.cell(stage, after, index, task, stats, key)])


def _gain(session: Session, name: str, task: Task, stats: Floats, stage: str, reference: Floats) -> Gain:
    score = score_of(task)
    gain, low, high = paired(score, stats, reference, session.parts.seed)
    return Gain(
        composition=name,
        task=task.name,
        versus="single" if stage == "single" else "head",
        score=value(score, stats),
        reference=value(score, reference),
        gain=gain,
        low=low,
        high=high,
        n=len(stats),
    )


def _weights(session: Session, name: str, kept: Kept, watch: compositions.Watch) -> list[Weights]:
    """Mean weight of each member at each site, over the target's test tokens (attention) or rows (gates).

    A bundle is a member with each of its parts that act there.
    """
    labels = [_label(session, digest, kept) for digest in kept.module.parents]
    rows = []
    for address, means in watch.means().items():
        layer, site_name = address.split("/")
        mixer, site = watch.mixers[address], session.model.sites[address]
        assert isinstance(mixer, Mixer)
        assert isinstance(site, Site)
        members = [f"{labels[i]} {group.part}".strip() for group in site.stacks for i in group.owners]
        rows.append(
            Weights(composition=name, kind=mixer.kind, layer=int(layer), site=site_name, members=members, mean=means)
        )
    return rows


def _label(session: Session, digest: str, kept: Kept) -> str:
    """What tells the members apart: the task they were learned on, or the method, where the task is the same."""
    parents = [k for k in session.journal if k.module.digest in kept.module.parents]
    module = next(k.module for k in parents if k.module.digest == digest)
    tasks = [k.module.task for k in parents]
    return module.method if len(set(tasks)) == 1 else module.task


def _by_digest(session: Session, digest: str) -> Adapter:
    return session.adapter(next(kept for kept in session.journal if kept.module.digest == digest))


def _distinct(kept: list[Kept]) -> list[Kept]:
    return list({one.key: one for one in kept}.values())


def _require_unchanged(session: Session, adapters: tuple[Adapter, ...]) -> None:
    """What is loaded now is bit for bit what was loaded before training."""
    for index, adapter in enumerate(adapters):
        if tensors_digest(flatten(session.model.take(index).params)) != tensors_digest(flatten(adapter.params)):
            raise RuntimeError(f"training a composition changed its frozen adapter {index}: this is a bug, report it")


def _skip(session: Session, what: str, why: str) -> None:
    session.warnings.append(f"{what} skipped: {why}")
    session.parts.progress.say(f"{what} skipped: {why}")
