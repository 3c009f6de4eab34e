"""A task of the stream in its turn: how the strategy has it learned, and what answers for it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from continual import head
from continual.adapter import Adapter
from continual.memories import Memories
from continual.method.base import Params
from continual.request import Learn
from continual.session import Kept, Session
from continual.strategy.base import Stage
from continual.stream.base import Task
from continual.stream.sealed import sealed


def request_of(session: Session, index: int) -> tuple[Task, Learn]:
    """The task, and the request to learn it; where one head answers all tasks, in the words of that head.

    Its random streams are f(seed, name of the task), whatever was learned before it: an isolated module is the same,
    bit for bit, in every order of the stream.
    """
    parts, before = session.parts, session.latest(index - 1)
    outputs, tasks, kind = parts.outputs, parts.stream.tasks[: index + 1], None
    if outputs is not None:
        tasks, kind = tuple(outputs.task(i, index) for i in range(index + 1)), outputs.head(index)
    task, name, reads = tasks[-1], f"learn/{tasks[-1].name}", kind or head.named(tasks[-1].head)
    stage = Stage(
        tasks=tuple(map(sealed, tasks)),
        past=() if parts.strategy.independent else tuple(map(_adapter(session), range(index))),
        memory=Memories(session.folder).get(before.key, before.memory) if before and before.memory else {},
        encode=lambda rows: session.reader(rows, reads, task.labels),
        bare=lambda rows: session.bare(session.reader(rows, reads, task.labels)),
        seed=parts.seed,
        one_head=outputs is not None,
        rivals=() if outputs is None or before is None else outputs.rivals(index - 1),
    )
    adapter = parts.strategy.start(session.fresh(parts.method, name), stage)
    request = session.request(name, task, (adapter,), parts.strategy.rows(stage), kind=kind)
    if outputs is not None:
        request = replace(request, labels=outputs.labels(index))
    if outputs is not None and before is not None:
        start = parts.strategy.start_head(request.head_params, _head(session, before))
        request = replace(request, head_params=start)
    return task, replace(request, strategy=parts.strategy, stage=stage)


def _adapter(session: Session) -> Callable[[int], Adapter | None]:
    return lambda index: None if (kept := session.good(index)) is None else session.adapter(kept)


def answering(session: Session, index: int, after: int) -> tuple[Kept, Kept] | None:
    """What answers a task once task ``after`` was learned: whose module, and whose head. None where it has diverged."""
    own, newest = session.good(index), session.latest(after)
    if own is None or newest is None:
        return None
    module = newest if session.parts.strategy.shared else own
    return module, (own if session.parts.outputs is None else newest)


def own_head(session: Session, kept: Kept, index: int) -> Params:
    """Of the head that was stored with a module what answers a task among its own labels."""
    outputs, params = session.parts.outputs, _head(session, kept)
    return params if outputs is None else outputs.own(params, index)


def _head(session: Session, kept: Kept) -> Params:
    return session.store.get(kept.module.digest).head
