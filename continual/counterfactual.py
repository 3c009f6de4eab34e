"""What a run of isolated modules would have scored had its tasks come in another order: its cells, put elsewhere.

A module that is learned from its own task alone is the same in every order, and so is all that is scored with it. With
own[j] the score of task j by its own module and head, ncm[i, j] that of task j, not learned yet, by nearest class mean
on the features of module i, and zero[j] that of the bare encoder, a run in order p has, at places k and l,

    R[k][l] = own[p_l] for l ≤ k,    R[k][l] = ncm[p_k, p_l] for l > k,    b[l] = zero[p_l]

No torch: nothing is answered here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, permutations

import numpy as np
from numpy.typing import NDArray

from continual.ledger import Cell, Ledger
from continual.metric.base import measure, metrics
from continual.metric.incremental import stages
from continual.stream.sample import draws
from continual.uncertainty import student

Order = tuple[int, ...]
"""Which task of the run comes first, second, …"""


class Fixed(Ledger):
    """A ledger to which nothing is added any more: two dozen formulas ask for its views, each is taken once."""

    def __init__(self, tasks: Iterable[str], cells: Iterable[Cell]) -> None:
        super().__init__(tasks)
        self.cells = list(cells)
        self._matrices: dict[str, NDArray[np.float64]] = {}
        self._zero, self._counts = super().zero(), super().counts()

    def matrix(self, stage: str = "learn") -> NDArray[np.float64]:
        if stage not in self._matrices:
            self._matrices[stage] = super().matrix(stage)
        return self._matrices[stage]

    def zero(self) -> NDArray[np.float64]:
        return self._zero

    def counts(self) -> NDArray[np.int64]:
        return self._counts


@dataclass(frozen=True)
class Scores:
    """All cells that a run in any order is made of; tasks are numbered as in the run that they are of.

    zero    by task: the bare encoder; without an entry where tasks not learned yet are not scored
    own     by task: its own module and head
    unseen  by (module, task)
    next    of the tasks to come only the next one is scored
    reuse   a cell whose key was there before counts as reused, as in a run
    """

    tasks: tuple[str, ...]
    zero: Mapping[int, Cell]
    own: Mapping[int, Cell]
    unseen: Mapping[tuple[int, int], Cell]
    reuse: bool = True
    next: bool = False

    def ledger(self, order: Order) -> Ledger:
        """What the ledger of a run in this order holds: rows "zero" and "learn", cell by cell."""
        known: set[str] = set()
        cells: list[Cell] = []
        for after in range(-1, len(order)):
            row = []
            for place, task in enumerate(order):
                cell = self.own[task] if place <= after else self._unseen(order, after, place)
                if cell is not None:
                    again = self.reuse and cell.key in known
                    stage = "zero" if after < 0 else "learn"
                    row.append(replace(cell, stage=stage, after=after, task=place, reused=again))
            known |= {cell.key for cell in row if cell.key}
            cells += row
        return Fixed([self.tasks[task] for task in order], cells)

    def _unseen(self, order: Order, after: int, place: int) -> Cell | None:
        if self.next and 0 <= after < place - 1:
            return None
        return self.zero.get(order[place]) if after < 0 else self.unseen.get((order[after], order[place]))


@dataclass(frozen=True)
class Spread:
    """One number over orders.

    mean        over the orders, and the 95 % interval of the mean over all T! (Student's): no wider than a point where
                all were counted, None where it is defined in one only
    deviation   standard deviation over the orders; of a sample of them with the divisor n − 1
    middle      between these two lie 95 % of the orders
    worst, best     of all that were counted; where lower is better (forgetting) worst is the highest
    worst_order     the first with the worst value, names of tasks
    run         in the run's own order; None where it is undefined there
    orders      in how many it is defined
    """

    mean: float
    interval: tuple[float, float] | None
    deviation: float
    middle: tuple[float, float]
    worst: float
    best: float
    worst_order: tuple[str, ...]
    run: float | None
    orders: int


@dataclass(frozen=True)
class One:
    """What one order gives. ``curve``: the mean score on the tasks learned so far, after each stage."""

    order: tuple[str, ...]
    metrics: dict[str, float | None]
    curve: tuple[float | None, ...]


@dataclass(frozen=True)
class Orders:
    """A run's metrics over orders of its tasks; ``orders.json`` in the run's folder.

    tasks        in the run's own order
    orders       how many were counted; ``every``: these are all that there are
    definitions  name and version of each metric
    curve        after each stage, of the mean score on the tasks learned so far
    run, given   the run's own order, and those that were asked for, each by itself
    forwarded    units that went through the encoder now
    notes        what this does not cover
    """

    id: str
    tasks: tuple[str, ...]
    orders: int
    every: bool
    seed: int
    definitions: dict[str, str]
    metrics: dict[str, Spread]
    curve: list[Spread]
    run: One
    given: list[One]
    forwarded: int
    notes: list[str]


def drawn(tasks: int, orders: int, seed: int) -> list[Order]:
    """So many different orders, each as likely as any other; all, sorted, where there are no more. f(arguments).

    >>> drawn(3, 6, seed=0) == sorted(drawn(3, 1000, seed=1)), len(drawn(15, 2, seed=0))
    (True, 2)
    >>> drawn(15, 3, seed=0)[:2] == drawn(15, 2, seed=0) != drawn(15, 2, seed=1)
    True
    """
    if math.factorial(tasks) <= orders:
        return list(permutations(range(tasks)))
    found: dict[Order, None] = {}
    for number in count():
        found[tuple(draws(tasks, "orders", seed, number).argsort(kind="stable").tolist())] = None
        if len(found) >= orders:
            break
    return list(found)


def one(scores: Scores, order: Order) -> One:
    """All metrics that a record has, by the same functions, and the curve."""
    ledger = scores.ledger(order)
    found = {name: measured.value for name, measured in measure(ledger).items()}
    return One(ledger.tasks, found, tuple(None if math.isnan(value) else value for value in stages(ledger)))


def spreads(found: Sequence[One], run: One, *, every: bool) -> dict[str, Spread]:
    """Of each metric that is defined in some order. ``every``: these are all orders that there are."""
    spread = {}
    for name, metric in metrics().items():
        values = {one.order: value for one in found if (value := one.metrics[name]) is not None}
        if values:
            spread[name] = spread_of(values, run.metrics[name], every=every, loss=metric.loss)
    return spread


def curve(found: Sequence[One], run: One, *, every: bool) -> list[Spread]:
    """Of the mean score on the tasks learned so far, after each stage that has one."""
    stages = []
    for stage, own in enumerate(run.curve):
        values = {one.order: value for one in found if (value := one.curve[stage]) is not None}
        if values:
            stages.append(spread_of(values, own, every=every))
    return stages


def spread_of(values: Mapping[tuple[str, ...], float], run: float | None, *, every: bool, loss: bool = False) -> Spread:
    """Of a number that each order has; ``loss``: lower is better."""
    table = np.array(list(values.values()))
    mean = math.fsum(table) / len(table)
    interval = (mean, mean) if every else None
    if not every and len(table) > 1:
        found = student(table.tolist())
        interval = (found.low, found.high)
    low, high = np.percentile(table, [2.5, 97.5])
    worst, best = (max, min) if loss else (min, max)
    return Spread(
        mean=mean,
        interval=interval,
        deviation=float(table.std(ddof=0 if every or len(table) < 2 else 1)),
        middle=(float(low), float(high)),
        worst=float(worst(table)),
        best=float(best(table)),
        worst_order=worst(values, key=values.__getitem__),
        run=run,
        orders=len(table),
    )
