"""What composing gained: rows of the ledger, paired gains, and what each mixer did, on the target's test rows."""

from __future__ import annotations

from typing import NamedTuple

from continual import composition as compositions
from continual.composition.base import Mixer
from continual.encoder.site import Holder
from continual.evaluate import score_of
from continual.recalled import recall
from continual.report.record import Gain, Weights
from continual.score.base import Floats, paired, value
from continual.session import Kept, Session
from continual.stream.base import Task


class Candidate(NamedTuple):
    """Something that was made of stored modules, under the name that it has in the record."""

    name: str
    kept: Kept


def compare(session: Session, task: Task, singles: list[Kept], candidates: list[Candidate]) -> None:
    """Rows of the ledger and gains: each candidate against the best single module and against the head alone.

    The best single module is chosen on validation rows; test rows decide nothing.
    """
    references: dict[str, Floats] = {}
    best = max(singles, key=lambda kept: kept.module.valid_score or 0.0)
    heads = [kept for kept in singles if kept.module.method == "head"]
    head_only = heads[0] if heads else session.kept(f"head/{task.name}")
    for stage, kept in (("best", best), ("head", head_only)):
        if kept is not None and kept.module.status == "ok":
            references[stage], _ = _stats(session, task, kept)
            _enter(session, stage, kept.module.digest, references[stage])
    for name, kept in candidates:
        stats, watch = _stats(session, task, kept)
        _enter(session, name, kept.module.digest, stats)
        session.weights += _weights(session, name, kept, watch)
        session.gains += [_gain(session, name, task, stats, stage, other) for stage, other in references.items()]
    session.model.mix(None)


def _stats(session: Session, task: Task, kept: Kept) -> tuple[Floats, compositions.Watch]:
    """Read back from the store, as anyone would who serves it."""
    found = recall(session.store, kept.module.digest, session.parts.encoder)
    found.install(session.model)
    with compositions.Watch(session.model) as watch:
        return session.evaluator.stats(task, found.head_params), watch


def _enter(session: Session, stage: str, digest: str, stats: Floats) -> None:
    after, index = len(session.parts.stream.tasks) - 1, session.parts.target_index
    if not session.ledger.row(stage, after):
        task = session.parts.stream.tasks[index]
        key = session.evaluator.key([digest], task)
        session.ledger.add([session.evaluator.cell(stage, after, index, task, stats, key)])


def _gain(session: Session, name: str, task: Task, stats: Floats, stage: str, reference: Floats) -> Gain:
    score = score_of(task)
    gain, low, high = paired(score, stats, reference, session.parts.seed)
    return Gain(
        composition=name,
        task=task.name,
        versus="single" if stage == "best" else "head",
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
    means = watch.means()
    if not means:
        return []
    labels, rows = _labels(session, kept.module.parents), []
    for address, mean in means.items():
        layer, site_name = address.split("/")
        mixer, site = watch.mixers[address], session.model.sites[address]
        assert isinstance(mixer, Mixer)
        assert isinstance(site, Holder)
        members = [f"{labels[i]} {group.part}".strip() for group in site.stacks for i in group.owners]
        rows.append(
            Weights(composition=name, kind=mixer.kind, layer=int(layer), site=site_name, members=members, mean=mean)
        )
    return rows


def _labels(session: Session, digests: list[str]) -> list[str]:
    """What tells the members apart: the task they were learned on, the method where tasks are the same, or both."""
    cards = [session.store.get(digest).card for digest in digests]
    tasks = [str(card.origin.get("task", digest[:8])) for card, digest in zip(cards, digests, strict=True)]
    if len(set(tasks)) == len(tasks):
        return tasks
    methods = [card.method for card in cards]
    if len(set(tasks)) == 1 and len(set(methods)) == len(methods):
        return methods
    both = [f"{task} {kind}" for task, kind in zip(tasks, methods, strict=True)]
    return [
        word if both.count(word) == 1 else f"{word} {digest[:8]}" for word, digest in zip(both, digests, strict=True)
    ]
