"""A ledger is its rows, in order, each there as a whole or not at all; matrices are views of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from continual.errors import CorruptError
from continual.ledger import Cell, Ledger, wilson

TASKS = ("a", "b")
ROWS = [
    [Cell("zero", -1, 0, 0.5, 10), Cell("zero", -1, 1, None, 20, why="no training row")],
    [Cell("learn", 0, 0, 0.9, 10, 0.6, 0.98, key="k"), Cell("learn", 0, 1, 0.4, 20, how="ncm")],
    [Cell("learn", 1, 0, 0.8, 10, reused=True), Cell("fusion", 1, 1, 0.95, 20)],
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def flat(rows: list[list[Cell]]) -> list[Cell]:
    return [cell for row in rows for cell in row]


def filled(path: Path | None = None) -> Ledger:
    ledger = Ledger(TASKS, path)
    for row in ROWS:
        ledger.add(iter(row))
    return ledger


def test_views_show_what_was_scored_and_nan_for_what_was_not() -> None:
    ledger = filled()
    np.testing.assert_equal(ledger.matrix(), [[0.9, 0.4], [0.8, np.nan]])
    np.testing.assert_equal(ledger.matrix("fusion"), [[np.nan, np.nan], [np.nan, 0.95]])
    np.testing.assert_equal(ledger.zero(), [0.5, np.nan])
    assert ledger.counts().tolist() == [10, 20]
    assert ledger.row("learn", 0) == ROWS[1]
    assert ledger.row("learn", 7) == []
    assert np.isnan(Ledger(TASKS).matrix()).all()
    assert Ledger(TASKS).counts().tolist() == [0, 0]


def test_a_ledger_on_disk_is_read_back_exactly_and_goes_on(path: Path) -> None:
    assert Ledger(TASKS, path).cells == []
    assert filled(path).cells == Ledger(TASKS, path).cells == flat(ROWS)
    Ledger(TASKS, path).add(ROWS[0])
    assert Ledger(TASKS, path).cells == flat([*ROWS, ROWS[0]])


def test_a_row_that_was_torn_by_a_kill_is_dropped_as_a_whole(path: Path) -> None:
    filled(path)
    path.write_bytes(path.read_bytes()[:-20])
    ledger = Ledger(TASKS, path)
    assert ledger.cells == ROWS[0] + ROWS[1]
    ledger.add(ROWS[2])
    assert Ledger(TASKS, path).cells == flat(ROWS)


def test_a_changed_score_is_noticed(path: Path) -> None:
    filled(path)
    path.write_text(path.read_text().replace("0.9,", "1.0,", 1))
    with pytest.raises(CorruptError, match="line 2: checksum"):
        Ledger(TASKS, path)


@pytest.mark.parametrize(("right", "n"), [(0, 0), (0, 7), (7, 7), (3, 7), (500, 1000)])
def test_the_interval_holds_the_proportion(right: int, n: int) -> None:
    low, high = wilson(right, n)
    assert 0.0 <= low <= (right / n if n else 0.5) <= high <= 1.0
