"""A run, as one readable generator: learn, store, evaluate, compose, route, record.

It yields requests and is sent what was learned (``drive.py``); everything between two yields is plain code.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

from continual import closed, references
from continual.certificate import certify, enter, prove
from continual.compose import compose, planned
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import CorruptError, IsolationError, counted
from continual.ledger import Cell
from continual.logs.base import conclude
from continual.method import named
from continual.method.base import WeightMethod
from continual.parts import Parts
from continual.report.record import Record
from continual.request import Learn, Learned
from continual.route import route
from continual.score.base import Floats
from continual.session import Session
from continual.stages import answering, own_head, request_of
from continual.strategy.base import Closed
from continual.stream.lint import check
from continual.summary import begin, summarize

Requests = Generator[list[Learn], list[Learned], Record]


def run(parts: Parts, model: AdaptedEncoder) -> Requests:
    """Go through the stream. A run that is finished returns its record; one that was stopped goes on where it stood."""
    warnings = check(parts.stream)
    with Session(parts, model) as session:
        if (record := session.finished) is not None:
            parts.progress.say(f"run {parts.run_id} was finished before: nothing to do")
            if parts.machine.loggers:
                parts.progress.warn(f"run {parts.run_id} was finished before: its logger is given nothing")
            return record
        started = time.time()
        parts.progress.say(_opening(session))
        parts.progress.plan(parts.stream.name, len(parts.stream.tasks) + planned(parts), len(session.journal))
        session.warnings += warnings
        for line in warnings:
            parts.progress.say(f"warning: {line}")
        _try(session)
        begin(session)
        enter(session)
        try:
            for index in range(len(parts.stream.tasks)):
                yield from _learn(session, index)
                if index == 0:  # not before: the bare encoder is the same now, and what is asked for is training
                    _score(session, "zero", -1)
                certify(session, index)
                _score(session, "learn", index)
            yield from compose(session)
            routing = route(session)
        except CorruptError as error:
            if not isinstance(error, IsolationError):
                prove(session, "a module could not be read")  # if it is one of the stream's, this says where it changed
            raise
        prove(session, "the last stage")
        references.adopt(session)
        record = summarize(session, started, routing)
        conclude(parts.machine.loggers, record, session.store)
        return record


def _try(session: Session) -> None:
    """Whatever the encoder has no room or no site for is said now, not when the bare encoder has read every task."""
    parts = session.parts
    session.model.load([session.fresh(parts.strategy.last(parts.method, len(parts.stream.tasks)), "try")])
    for composition in parts.compositions:
        for name in composition.methods:
            session.fresh(named(name, {}), name)
    session.model.load([])


def _opening(session: Session) -> str:
    """What begins, or goes on: reading the texts and scoring the bare encoder take a while."""
    parts = session.parts
    what = f"run {parts.run_id}: {parts.stream.name} ({counted(len(parts.stream.tasks), 'task')})"
    how = f"{parts.strategy_name} {parts.choices['method'][0]} on {parts.encoder.name}, seed {parts.seed}"
    done = f"; goes on behind {counted(len(session.journal), 'stored module')}" if session.journal else ""
    return f"{what}, {how}{done}"


def _learn(session: Session, index: int) -> Generator[list[Learn], list[Learned], None]:
    """One task: the strategy says from which module and on which rows; the result goes into the store.

    Where a task is learned from itself alone, those that come next are learned with it.
    """
    parts, key = session.parts, f"learn/{index}"
    if (kept := session.kept(key)) is not None:
        if kept in session.found:
            parts.progress.say(f"{_title(session, [index])}: done before")
        return
    if isinstance(parts.strategy, Closed):
        task, request = request_of(session, index)
        parts.progress.begin(_title(session, [index]))
        learned = yield from closed.learned(session, request, parts.strategy)
        parts.progress.end(session.outcome(session.keep(key, task, request, learned)))
        return
    count = parts.machine.ahead if parts.strategy.independent and not isinstance(parts.method, WeightMethod) else 1
    waiting = [i for i in range(index, len(parts.stream.tasks)) if session.kept(f"learn/{i}") is None][:count]
    asked = [request_of(session, i) for i in waiting]
    parts.progress.begin(_title(session, waiting), len(waiting))
    answers = yield [request for _, request in asked]
    for i, (task, request), learned in zip(waiting, asked, answers, strict=True):
        parts.progress.begin(_title(session, [i]), started=parts.progress.started)
        parts.progress.end(session.outcome(session.keep(f"learn/{i}", task, request, learned)))


def _title(session: Session, waiting: list[int]) -> str:
    """ "learn 2/4 rotten-tomatoes", or of several "learn 2-4/4"."""
    tasks, first, last = session.parts.stream.tasks, waiting[0], waiting[-1]
    if first == last:
        return f"learn {first + 1}/{len(tasks)} {tasks[first].name}"
    return f"learn {first + 1}-{last + 1}/{len(tasks)}, {len(waiting)} at once"


def _score(session: Session, stage: str, after: int) -> None:
    """One row of the ledger: seen tasks by their module and head, the others by nearest class mean."""
    if session.ledger.row(stage, after):
        return
    cells: list[Cell | None] = []
    for index in range(len(session.parts.stream.tasks)):
        cells.append(_seen(session, stage, after, index) if index <= after else _unseen(session, stage, after, index))
    if session.parts.outputs is not None and session.parts.stream.scenario != "task":
        cells = [*(_among_all(session, cell) for cell in cells), *(_oracle(cell) for cell in cells)]
    if found := [cell for cell in cells if cell is not None]:
        session.ledger.add(found)


def _seen(session: Session, stage: str, after: int, index: int) -> Cell:
    """Answered among the task's own labels: its identity is given."""
    task = session.parts.stream.tasks[index]
    found = answering(session, index, after)
    if found is None:
        return Cell(stage, after, index, None, len(task.test), why="its training diverged")
    module, of = found

    def answer() -> Floats:
        session.model.load([session.adapter(module)])
        return session.evaluator.stats(task, own_head(session, of, index))

    session.model.mix(None)
    return session.evaluator.seen(stage, after, index, task, [module.module.digest, of.module.digest], answer)


def _among_all(session: Session, cell: Cell | None) -> Cell | None:
    """The same rows answered by the one head among all labels so far: no task identity is given."""
    outputs, module = session.parts.outputs, session.latest(cell.after) if cell is not None else None
    if cell is None or cell.how != "own" or cell.score is None or outputs is None or module is None:
        return cell
    task = outputs.task(cell.task, cell.after)

    def answer() -> Floats:
        session.model.load([session.adapter(module)])
        return session.evaluator.stats(task, session.store.get(module.module.digest).head)

    return session.evaluator.seen(cell.stage, cell.after, cell.task, task, [module.module.digest], answer)


def _oracle(cell: Cell | None) -> Cell | None:
    """What a row would be answered if its task were given, beside what it is answered."""
    return None if cell is None or cell.how != "own" else replace(cell, stage="oracle")


def _unseen(session: Session, stage: str, after: int, index: int) -> Cell | None:
    if session.parts.evaluate.unseen == "next" and 0 <= after < index - 1:
        return None
    module = session.latest(after)
    digest = module.module.digest if module is not None else "bare"
    session.model.mix(None)

    def load() -> None:
        session.model.load([session.adapter(module)] if module is not None else [])

    return session.evaluator.unseen(stage, after, index, session.parts.stream.tasks[index], digest, load)
