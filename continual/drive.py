"""Answers the requests of a run, or of several runs at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from continual import references
from continual.dealt import Dealt
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.attention import kernels
from continual.errors import ContinualError
from continual.logs.base import close
from continual.parts import Parts
from continual.report.record import Record
from continual.request import Learn, Learned
from continual.run import run
from continual.trainer import learn, placed


@kernels(planned=False)
def run_stream(parts: Parts) -> Record:
    """Go through a run on one adapted encoder, and return its record. If it is due, its references come first."""
    _refer(parts)
    model = AdaptedEncoder(parts.encoder)
    work = run(parts, model)
    answers, record, dealt = None, None, Dealt(model, parts.machine, learn)
    try:
        placed(model, parts.machine)
        while True:
            try:
                requests = work.send(answers)  # type: ignore[arg-type]  # the first asks for the first requests
            except StopIteration as done:
                return (record := done.value)
            answers = dealt(requests, parts.progress)
    finally:
        work.close()
        model.release()
        close(parts.machine.loggers, record)


@kernels(planned=False)
def run_together(several: Sequence[Parts]) -> None:
    """Go through runs on the same encoder side by side: what they ask for at the same time is learned in one group.

    Each leaves the record that it would leave alone, but for its seconds: those of a group are shared out evenly. The
    losses of a group are in no logger. A run that fails says so and ends, the others go on.
    """
    for parts in several:
        _refer(parts)
    first = several[0]
    machine = replace(first.machine, loggers=())
    model = AdaptedEncoder(first.encoder)
    dealt = Dealt(model, machine, learn)
    works = [run(parts, model) for parts in several]
    waiting: dict[int, list[Learn]] = {}
    records: dict[int, Record] = {}
    try:
        placed(model, machine)
        for index in range(len(works)):
            _go_on(works, index, None, waiting, records, several)
        while waiting:
            chosen = _together(waiting)
            requests = [request for index in chosen for request in waiting[index]]
            found = iter(dealt(requests, several[chosen[0]].progress))
            for index in chosen:
                answers = [next(found) for _ in waiting.pop(index)]
                _go_on(works, index, answers, waiting, records, several)
    finally:
        for index, (work, parts) in enumerate(zip(works, several, strict=True)):
            work.close()
            close(parts.machine.loggers, records.get(index))
        model.release()


Work = Generator[list[Learn], list[Learned], Record]


def _go_on(
    works: Sequence[Work],
    index: int,
    answers: list[Learned] | None,
    waiting: dict[int, list[Learn]],
    records: dict[int, Record],
    several: Sequence[Parts],
) -> None:
    """Let a run go on to its next requests, or to its end."""
    try:
        waiting[index] = works[index].send(answers)  # type: ignore[arg-type]
    except StopIteration as done:
        records[index] = done.value
    except ContinualError as error:
        several[index].progress.say(f"run {several[index].run_id} stopped: {error}")


def _together(waiting: dict[int, list[Learn]]) -> list[int]:
    """The runs whose requests are answered next: one that must be alone, else all that can be one group."""
    for index, requests in waiting.items():
        if any(r.alone for r in requests):
            return [index]
    decay = next(iter(waiting.values()))[0].recipe.weight_decay
    return [i for i, requests in waiting.items() if all(r.recipe.weight_decay == decay for r in requests)]


def _refer(parts: Parts) -> None:
    if not parts.finished:
        for reference in references.derived(parts).values():
            run_stream(reference)
