"""Order counterfactuals: what a finished run of isolated modules would have scored in other orders of its tasks.

The run's ledger has each task by its own module, and of the tasks that were not learned yet one half: those that come
later in its own order. The other half is answered once, from the stored modules, and kept in ``orders.jsonl`` beside
the ledger, under the same keys. Then an order is the same cells in other places (``counterfactual.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from continual.counterfactual import Fixed, Order, Orders, Scores, curve, drawn, one, spreads
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.attention import kernels
from continual.errors import ContinualError
from continual.evaluate import Evaluator
from continual.files import write_json
from continual.ledger import Cell, Ledger
from continual.metric.base import metrics
from continual.parts import Parts
from continual.session import Kept, Session
from continual.stream.order import arrange


@kernels(planned=False)
def orders(
    parts: Parts, model: AdaptedEncoder, count: int = 1000, seed: int = 0, given: Sequence[Sequence[str]] = ()
) -> Orders:
    """The metrics of ``count`` random orders, or of all where there are no more, and of each of ``given`` by itself.

    What is lacking is answered by ``model``; a second call forwards nothing. ``orders.json`` is written.

    Raises ContinualError where a module depends on what was learned before it, the run is not finished, a training
    diverged, or ``given`` has a list that is not an order of all tasks.
    """
    _check(parts, count)
    asked = [_order(parts, names) for names in given]
    with Session(parts, model) as session:
        scores, forwarded = gather(session)
        places = tuple(range(len(scores.tasks)))
        chosen = drawn(len(places), count, seed)
        own, found = one(scores, places), [one(scores, order) for order in chosen]
        every = math.factorial(len(places)) <= count
        made = Orders(
            id=parts.run_id,
            tasks=scores.tasks,
            orders=len(chosen),
            every=every,
            seed=seed,
            definitions={name: metric.definition for name, metric in metrics().items()},
            metrics=spreads(found, own, every=every),
            curve=curve(found, own, every=every),
            run=own,
            given=[one(scores, order) for order in asked],
            forwarded=forwarded,
            notes=_notes(parts),
        )
        write_json(session.folder / "orders.json", asdict(made))
    return made


def gather(session: Session) -> tuple[Scores, int]:
    """All cells that the run's modules have in any order, and how many units were forwarded for those that lacked.

    Raises ContinualError where the run's ledger is not that of its modules.
    """
    names = tuple(task.name for task in session.parts.stream.tasks)
    ledger, options, count = session.ledger, session.parts.evaluate, len(names)
    zero = {cell.task: cell for cell in ledger.row("zero", -1)}
    own = {cell.task: cell for index in range(count) for cell in ledger.row("learn", index) if cell.task == index}
    unseen, forwarded = _unseen(session)
    scores = Scores(names, zero, own, unseen, options.reuse, options.unseen == "next")
    expected = Fixed(names, [cell for cell in ledger.cells if cell.stage in ("zero", "learn")])
    if len(own) < count or not _same(scores.ledger(tuple(range(count))), expected):
        raise ContinualError(
            f"run {session.parts.run_id}: its ledger has another score of a task after a later one, where an isolated "
            "module answers the same; delete the run's folder and run it again"
        )
    return scores, forwarded


def _unseen(session: Session) -> tuple[dict[tuple[int, int], Cell], int]:
    """By (module, task): nearest class mean on the module's features. Each new one is on disk before the next."""
    tasks, options = session.parts.stream.tasks, session.parts.evaluate
    names, salt = [task.name for task in tasks], session.evaluator.salt
    book, known = Ledger(names, session.folder / "orders.jsonl"), Ledger(names)
    known.add([*session.ledger.cells, *book.cells])
    evaluator = Evaluator(session.model, session.reader, known, replace(options, reuse=True), salt, session.parts.seed)
    found = {}
    for module in range(len(tasks)):
        kept, before = _good(session, module), evaluator.forwarded

        def load(kept: Kept = kept) -> None:
            session.model.mix(None)
            session.model.load([session.adapter(kept)])

        for index, task in enumerate(tasks):
            if index == module:
                continue
            cell = evaluator.unseen("learn", module, index, task, kept.module.digest, load)
            if cell is not None:
                found[module, index] = cell
                if cell.key and not cell.reused:
                    book.add([cell])
        if evaluator.forwarded > before:
            session.parts.progress.say(f"orders {module + 1}/{len(tasks)}: other tasks on features of {names[module]}")
    session.model.load([])
    return found, evaluator.forwarded


def _same(ours: Ledger, theirs: Ledger) -> bool:
    tables = [np.vstack([ledger.matrix(), ledger.zero()]) for ledger in (ours, theirs)]
    return np.array_equal(*tables, equal_nan=True)


def _good(session: Session, index: int) -> Kept:
    kept = session.good(index)
    if kept is None:
        raise ContinualError(
            f"the training of {session.parts.stream.tasks[index].name} diverged, so no order has its score; "
            "mend it (a lower optimizer.lr) and run it again"
        )
    return kept


def _check(parts: Parts, count: int) -> None:
    if count < 1:
        raise ContinualError(f"orders must be at least 1, got {count}")
    if not parts.strategy.independent:
        raise ContinualError(
            f"strategy={parts.strategy_name} learns a task from what came before it, so another order must be trained: "
            "continual run stream.order=…; only a run of strategy=isolated has all orders in its modules"
        )
    if not parts.finished:
        raise ContinualError(f"run {parts.run_id} in {parts.runs} is not finished; the same continual run goes on")


def _order(parts: Parts, names: Sequence[str]) -> Order:
    tasks = [task.name for task in parts.stream.tasks]
    order = arrange(tasks, list(names))
    if lacking := [task for task in tasks if task not in order]:
        raise ContinualError(f"order: {', '.join(lacking)} is not in it; name each of the {len(tasks)} tasks once")
    return tuple(tasks.index(name) for name in order)


def _notes(parts: Parts) -> list[str]:
    """Said, since a reader could take it for granted."""
    notes = []
    if parts.router is not None:
        notes.append("each row's task is given: what a router makes of another order is not counted here")
    elif parts.stream.scenario != "task":
        notes.append(f"scenario {parts.stream.scenario}: each row's task is given here, as in the run's own matrix")
    if parts.references:
        notes.append("metrics against references are not counted here: theirs are of the run's own order")
    return notes
