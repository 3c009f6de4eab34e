"""Rows stand by their means, and nothing is above anything inside the noise."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from continual.board.rank import Row, rank
from continual.board.records import Entry
from continual.board.rules import Rules
from continual.metric.base import metrics

from . import made


def row(name: str, gain: float = 0.0, noise: float = 0.0) -> Row:
    """``noise``: by how much seed 0 is above and seed 1 below."""
    signs = {0: 1, 1: -1, 2: 0}
    runs = {job: Entry(name, Path(), made.record(*job, gain=gain + noise * signs[job[0]])) for job in made.rules().jobs}
    return Row(name, runs, {job: entry.record.metrics["average_accuracy"].value or 0.0 for job, entry in runs.items()})


def ranked(*rows: Row, **changes) -> list[tuple[str, int, bool]]:
    return [(found.row.name, found.rank, found.tie) for found in rank(made.rules(**changes), rows)]


def test_what_is_better_on_every_run_stands_above() -> None:
    assert ranked(row("a"), row("b", 0.01), row("c", 0.02)) == [("c", 1, False), ("b", 2, False), ("a", 3, False)]


def test_a_difference_inside_the_noise_is_a_tie_and_the_next_rank_counts_all_above() -> None:
    found = ranked(row("a", 0.05), row("b", 0.049, noise=0.03), row("c", -0.05))
    assert found == [("a", 1, False), ("b", 1, True), ("c", 3, False)]


def test_a_chain_of_ties_does_not_lift_what_the_first_row_beats() -> None:
    """b is not beaten by a, nor c by b, but c is by a: two small steps are a large one."""
    found = ranked(row("a"), row("b", -0.02, noise=0.03), row("c", -0.04))
    assert found == [("a", 1, False), ("b", 1, True), ("c", 2, False)]


def test_a_row_of_much_noise_does_not_stand_above_those_with_a_better_mean() -> None:
    found = ranked(row("a"), row("b", -0.01), row("c", -0.02, noise=0.2))
    assert found == [("a", 1, False), ("b", 2, False), ("c", 2, True)]


def test_a_pairing_decides_what_two_intervals_do_not() -> None:
    better, worse = rank(made.rules(), [row("a"), row("b", 0.001)])
    assert worse.score.high > better.score.low  # they overlap: seeds and orders differ by more
    assert (better.row.name, worse.rank, worse.tie) == ("b", 2, False)
    assert worse.over is not None
    assert worse.over.mean == pytest.approx(-0.001)


def test_equal_rows_tie_and_stand_by_name() -> None:
    assert ranked(row("b"), row("a")) == [("a", 1, False), ("b", 1, True)]


def test_of_a_loss_the_lowest_stands_first(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = replace(metrics()["average_accuracy"], loss=True)
    monkeypatch.setattr(Rules, "formula", lambda rules: loss)
    found = rank(made.rules(), [row("a", 0.05), row("b"), row("c", 0.051, noise=0.03)])
    assert [(each.row.name, each.rank) for each in found] == [("b", 1), ("a", 2), ("c", 2)]
    assert found[1].over is not None
    assert found[1].over.verdict == "worse"


def test_one_run_is_never_above_another() -> None:
    rules = made.rules(seeds=[0], orders=[made.rules().orders[0]])
    rows = [Row(name, {}, {job: value}) for name, value in (("a", 0.9), ("b", 0.6)) for job in rules.jobs]
    first, second = rank(rules, rows)
    assert math.isinf(first.score.low)
    assert (first.row.name, second.rank, second.tie) == ("a", 1, True)
