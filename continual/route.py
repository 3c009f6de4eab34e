"""The routing stage of a run: what is answered, and how well, when nobody says of which task a row is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from continual import folder, router
from continual.errors import counted
from continual.readings import Readings
from continual.report.record import Route, Routing
from continual.routing import Account, Flags, answer
from continual.session import Session
from continual.task_inference import TaskInference


def route(session: Session) -> Routing | None:
    """Show the run's router each task in turn, ask it after each for all test rows so far, and count.

    It is computed from the stored modules and the rows, so a run that was stopped here computes it again. What the
    router knows is left in the run's folder. None without a router, or where no task can be routed to.
    """
    chosen = session.parts.router
    if chosen is None:
        return None
    readings, name = Readings(session), router.name_of(chosen)
    tasks = [index for index in range(len(session.parts.stream.tasks)) if _takes_part(readings, index)]
    if not tasks:
        return None
    session.parts.progress.say(f"route {counted(len(tasks), 'task')} by {name}")
    known, rows, confusion = TaskInference(chosen), [], []
    for position, index in enumerate(tasks):
        so_far, task = tasks[: position + 1], readings.task(index)
        known = known.learn(task.name, readings.evidence(index, chosen.needs_logits))
        if len(task.valid):
            known = known.calibrated(task.name, readings.query("valid", [index], so_far))
        new, confusion = _counted(readings, known, so_far, last=index == tasks[-1])
        rows += new
    known.save(session.folder)
    whole = [row for row in rows if row.task is None][-1]
    session.parts.progress.say(f"{name}: {100 * whole.route:.1f} % of all test rows went to their own task")
    return Routing(
        router=name,
        arguments=folder.arguments(chosen),
        temperature=known.temperature,
        tasks=tasks,
        rows=rows,
        confusion=confusion,
    )


def _takes_part(readings: Readings, index: int) -> bool:
    """Whether rows can be routed to the task; where not, or not all of it can be scored, a warning says so."""
    session, task = readings.session, readings.task(index)
    chosen = session.parts.router
    assert chosen is not None
    why = ""
    if readings.module(index) is None:
        why = f"{task.name} is not routed to: its training diverged"
    elif not readings.classifies(index) and chosen.needs_logits:
        name = router.name_of(chosen)
        why = f"{task.name} is not routed to: router={name} reads logits of classes, which a {task.head} head lacks"
    elif not readings.classifies(index):
        session.warnings.append(f"of {task.name} only the route is scored: a {task.head} head does not choose a class")
    if why:
        session.warnings.append(why)
        session.parts.progress.say(why)
    return not why


def _counted(
    readings: Readings, known: TaskInference, tasks: Sequence[int], last: bool
) -> tuple[list[Route], list[list[int]]]:
    """Over all test rows of the tasks so far; after the last of them, of each task too.

    Also how many rows of each task (rows of the table) have which as their likeliest (columns).
    """
    query = readings.query("test", tasks, tasks)
    assert query.truth is not None
    likely = known.probabilities(query)
    labels = [readings.task(index).labels if readings.classifies(index) else () for index in tasks]
    said = answer(likely, known.router.top, lambda task, rows: query.logits(known.tasks[task], rows), labels)
    pairs = zip(tasks, labels, strict=True)
    wanted = [own[row.label] if own else None for index, own in pairs for row in readings.task(index).test]
    routed = likely.argmax(1)
    account = Account(
        routed=(routed == query.truth).numpy(),
        within=np.concatenate([_within(readings, index) for index in tasks]),
        right=np.array([a == b for a, b in zip(said, wanted, strict=True)]),
    )
    after, asks = tasks[-1], np.array([label is not None for label in wanted])
    rows = [_route(after, None, account, asks)]
    if last:
        for position, index in enumerate(tasks):
            mine: Flags = (query.truth == position).numpy()
            rows.append(_route(after, index, account.of(mine), asks[mine]))
    pairs = (query.truth * len(tasks) + routed).bincount(minlength=len(tasks) ** 2)
    return rows, pairs.reshape(len(tasks), -1).tolist()


def _within(readings: Readings, index: int) -> Flags:
    """Of a task's test rows, whether its own module and head answer right; never, where no class is chosen."""
    test = readings.task(index).test
    if not readings.classifies(index):
        return np.zeros(len(test), dtype=bool)
    said = readings.logits("test", index, range(len(test)), index).argmax(1).tolist()
    return np.array([answer == row.label for answer, row in zip(said, test, strict=True)])


def _route(after: int, task: int | None, account: Account, asks: Flags) -> Route:
    answered = account.of(asks) if asks.any() else None
    return Route(
        after=after,
        task=task,
        n=len(asks),
        answered=int(asks.sum()),
        route=account.route,
        oracle=None if answered is None else answered.oracle,
        total=None if answered is None else answered.total,
        lucky=0 if answered is None else int(answered.lucky.sum()),
        lost=0 if answered is None else int(answered.lost.sum()),
    )
