"""A board from its rules to its table with real runs, and one of them made again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from continual.board import records
from continual.board.standings import Board, open_board
from continual.board.verify import Verdict, reach, verify
from continual.command import board as command_board
from continual.command import run as command_run
from continual.errors import ContinualError
from continual.parts import Parts
from continual.reopen import rebuilt
from continual.report.record import Record
from tests import running

from . import made

SHARED = ["stream=toy", "stream.count=2", "stream.classes=2", "stream.train=16", "stream.valid=4", "stream.test=24"]
SHARED += ["stream.words=6", "trainer.epochs=1", "composition=[]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the board ``tiny`` and the runs of its one row, as the commands leave them."""
    place = tmp_path_factory.mktemp("verify")
    encoder = f"encoder.name={running.saved_encoder(place / 'encoder')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("sys.argv", ["continual"])
        patch.setitem(os.environ, "HYDRA_FULL_ERROR", "")
        new = ["new", "tiny", "tiny", *SHARED, encoder, "--seeds", "0,1", "--orders", "stream.seed=0,1"]
        assert command_board.main(new) == 0
        jobs = ["-m", "seed=0,1", "stream.seed=0,1", "threads=1", "quiet=true"]
        assert command_run.main([*jobs, *SHARED, encoder]) == 0
        assert command_board.main(["add", "tiny", "runs"]) == 0
    return place


@pytest.fixture(scope="module")
def board(place: Path) -> Board:
    return open_board(place / "tiny")


def first(board: Board) -> Record:
    return board.standings[0].row.runs[0, "0"].record


def built(record: Record, config: dict[str, Any], folder: Path) -> Parts:
    """As ``verify`` builds it, from another configuration."""
    changes = {"paths": {"runs": str(folder), "store": str(folder)}, "trainer": {"accelerator": "auto"}}
    return rebuilt(record.model_copy(update={"config": config}), changes)


def copied(place: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The board with changed records, whose names are right again."""
    shutil.copy(place / "tiny" / "board.json", folder / "board.json")
    for path in place.glob("tiny/records/*/*.json"):
        value = json.loads(path.read_text(encoding="utf-8"))
        change(value)
        records.put(folder, path.parent.name, json.dumps(value).encode())
    return folder


def raised(value: dict[str, Any]) -> None:
    """Scores that no run had: all alike, with the metrics that follow."""
    for cell in value["cells"]:
        cell["score"] = 0.999
    record = Record.model_validate(value)
    value.update(made.measured(record, record.cells).model_dump(mode="json"))


def test_runs_of_the_commands_make_a_row(board: Board) -> None:
    assert [(each.row.name, each.rank, each.score.runs) for each in board.standings] == [("isolated-bottleneck", 1, 4)]
    assert board.rejected == []


def test_a_run_made_again_is_the_very_same(place: Path, board: Board, command: Callable) -> None:
    before = sorted(path.name for path in place.iterdir())
    ended = command("board", "verify", place / "tiny", "isolated-bottleneck", "--run", "1/0")
    assert ended.code == 0, ended.err
    assert "seed 1, order 0" in ended.out
    assert "exactly the same" in ended.out
    [standing] = board.standings
    inside = standing.score.low <= standing.row.values[1, "0"] <= standing.score.high
    assert f"it lands {'inside' if inside else 'outside, as a single run may'}\n" in ended.out
    assert "it holds" in ended.out
    assert sorted(path.name for path in place.iterdir()) == before
    assert list(Path().iterdir()) == []  # nothing beside the board either


def test_scores_that_no_run_had_do_not_hold(place: Path, tmp_path: Path, command: Callable) -> None:
    folder = copied(place, tmp_path, raised)
    assert open_board(folder).rejected == []  # sound in itself: only running it again tells
    ended = command("board", "verify", folder, "isolated-bottleneck")
    assert ended.code == 1
    assert "then 99.9, now" in ended.out
    assert "it does not hold" in ended.out


def test_a_true_number_far_from_the_other_runs_of_its_row_holds(board: Board) -> None:
    """An order may be worse than all others: its run made again is as bad."""
    row = board.standings[0].row
    true = row.values[0, "0"]
    values = {job: true + 0.3 + 0.01 * place for place, job in enumerate(row.values)} | {(0, "0"): true + 1e-4}
    found = verify(board.rules, replace(row, values=values), (0, "0"))
    assert (found.same, found.holds) == (False, True)


@pytest.mark.parametrize(("more", "holds"), [(0.005, True), (0.3, False)])
def test_one_raised_number_neither_widens_its_own_reach_nor_holds_because_the_new_one_is_like_the_others(
    board: Board, more: float, holds: bool
) -> None:
    row = board.standings[0].row
    true = row.values[0, "0"]
    values = {job: true + 0.01 * place for place, job in enumerate(row.values)} | {(0, "0"): true + more}
    found = verify(board.rules, replace(row, values=values), (0, "0"))
    assert (found.same, found.holds) == (False, holds)


def test_a_run_of_two_gpus_and_a_folder_of_theirs_is_made_again_on_what_is_there(board: Board) -> None:
    row, job = board.standings[0].row, (0, "0")
    theirs = {"accelerator": "gpu", "devices": 2, "cache_folder": "nowhere/at/all"}
    config = {**first(board).config, "trainer": {**first(board).config["trainer"], **theirs}}
    entry = replace(row.runs[job], record=first(board).model_copy(update={"config": config}))
    assert verify(board.rules, replace(row, runs={**row.runs, job: entry}), job).holds


def test_another_state_of_the_code_is_said_and_is_refused_where_the_rules_fix_it(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("continual.parts.code_digest", lambda: "another")
    row = board.standings[0].row
    found = verify(board.rules, row, (0, "0"))
    assert (found.other, found.same, found.holds) == (True, True, True)
    with pytest.raises(ContinualError, match="of one state of the package's source"):
        verify(board.rules.model_copy(update={"code": first(board).code}), row, (0, "0"))


def test_data_that_are_no_longer_what_they_were_are_refused(board: Board, tmp_path: Path) -> None:
    record = first(board)
    config = {**record.config, "stream": {**record.config["stream"], "seed": 7}}
    with pytest.raises(ContinualError, match="was made with another stream; restore"):
        built(record, config, tmp_path)


def test_a_configuration_of_another_version_is_refused(board: Board, tmp_path: Path) -> None:
    record = first(board)
    config = {key: value for key, value in record.config.items() if key != "router"}
    with pytest.raises(ContinualError, match="has no router in its configuration"):
        built(record, config, tmp_path)


MALFORMED = {
    "trainer": "cpu",
    "paths": None,
    "choices": ["encoder"],
    "method": 5,
    "optimizer": [1],
    "router": None,
    "composition": "fusion",
    "merging": {"ties": 3},
    "prune": 1,
    "stream": {},
    "encoder": {"name": "minilm"},
}


@pytest.mark.parametrize("key", MALFORMED)
def test_a_configuration_of_another_shape_is_refused_by_name(board: Board, key: str, tmp_path: Path) -> None:
    record = first(board)
    with pytest.raises(ContinualError, match=key):
        built(record, {**record.config, key: MALFORMED[key]}, tmp_path)


def test_a_record_cannot_name_what_is_called(board: Board, tmp_path: Path) -> None:
    record = first(board)
    config = {**record.config, "method": {"_target_": "os.system", "command": "touch x"}}
    with pytest.raises(ContinualError, match="expected a component defined in"):
        built(record, config, tmp_path)


@pytest.mark.parametrize(
    ("row", "run", "why"), [("nobody", "0/0", "row 'nobody'"), ("isolated-bottleneck", "9/0", "run '9/0'")]
)
def test_a_row_or_run_that_is_not_there_is_refused_with_those_that_are(place, command, row, run, why) -> None:
    ended = command("board", "verify", place / "tiny", row, "--run", run)
    assert ended.code == 1
    assert f"unknown {why}; choose from:" in ended.err


def test_a_number_holds_inside_the_reach_of_single_runs_or_if_it_is_the_very_same() -> None:
    low, high = reach(0.8, [0.7, 0.8, 0.9]) or (0.0, 0.0)
    for new, holds in ((low + 1e-6, True), (high + 1e-6, False), (low - 1e-6, False)):
        assert Verdict((0, "a"), 0.8, new, (low, high), False).holds is holds
    assert Verdict((0, "a"), 0.8, 0.8, None, False).holds
    assert not Verdict((0, "a"), 0.8, 0.81, None, False).holds
