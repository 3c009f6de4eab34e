"""Runs become rows: only whole ones, only of the rules, and nothing that is there is ever replaced."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from continual.board import rules
from continual.board.add import add
from continual.board.standings import open_board
from continual.errors import ContinualError
from continual.report.record import Record, save

from . import made


@pytest.fixture
def board(tmp_path: Path) -> Path:
    rules.save(made.rules(), tmp_path / "board")
    return tmp_path / "board"


def files(board: Path) -> list[Path]:
    return sorted(path.relative_to(board / "records") for path in board.glob("records/*/*"))


def refused(board: Path, folder: Path, *more: str | None) -> str:
    """Of runs of which nothing was taken: why."""
    before = files(board)
    added = add(board, [folder], *more)
    assert added.new == {}
    assert files(board) == before
    return "\n".join(skip.why for skip in added.refused)


def test_a_row_is_every_seed_with_every_order_and_its_records_are_the_runs_own_bytes(board, tmp_path) -> None:
    folder = made.runs(tmp_path / "runs")
    added = add(board, [folder])
    assert added.new == {"isolated-lora": 6}
    assert added.refused == []
    ours = {path.stem: path.read_bytes() for path in board.glob("records/isolated-lora/*.json")}
    assert set(ours.values()) == {path.read_bytes() for path in folder.glob("*/run.json")}
    assert all(sha256(data).hexdigest() == name for name, data in ours.items())


def test_runs_of_several_rows_are_told_apart_by_what_they_vary(board, tmp_path) -> None:
    made.runs(tmp_path / "runs")
    made.runs(tmp_path / "runs", method="bottleneck")
    assert add(board, [tmp_path / "runs"]).new == {"isolated-lora": 6, "isolated-bottleneck": 6}


def test_a_second_time_nothing_is_new(board, tmp_path) -> None:
    folder = made.runs(tmp_path / "runs")
    add(board, [folder])
    before = files(board)
    assert add(board, [folder]).new == {"isolated-lora": 0}
    assert files(board) == before


def test_a_row_that_lacks_a_run_is_refused_with_what_it_lacks(board, tmp_path) -> None:
    folder = made.runs(tmp_path / "runs")
    (folder / made.record(2, "back").id / "run.json").unlink()
    why = refused(board, folder)
    assert "it lacks seed 2 of order back" in why
    assert "seed 2 of order forth" not in why


def test_a_row_that_lost_a_record_is_made_whole_again(board, tmp_path) -> None:
    folder = made.runs(tmp_path / "runs")
    add(board, [folder])
    whole = files(board)
    (board / "records" / whole[0]).unlink()
    assert add(board, [folder]).new == {"isolated-lora": 1}
    assert files(board) == whole


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"config": {"trainer": {"epochs": 9}}}, "expected trainer.epochs 3, got 9"),
        ({"config": {"trainer": None}}, "expected trainer.epochs 3, got null"),
        ({"max_length": 128}, "expected choices.max_length 64, got 128"),
        ({"sources": ["ab"]}, r"expected sources \[\], got"),
    ],
    ids=str,
)
def test_what_the_rules_fix_must_be_equal(board, tmp_path, given, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        assert refused(board, made.runs(tmp_path / "runs", **given)) == ""


def test_only_seeds_and_orders_of_the_rules_are_runs_of_a_row(board, tmp_path) -> None:
    save(made.record(seed=5), tmp_path / "other.json")
    assert "expected a seed of [0, 1, 2], got 5" in refused(board, tmp_path / "other.json")
    choices = made.record(stream="00" * 32)
    save(choices.model_copy(update={"stream_digest": "00" * 32}), tmp_path / "other.json")
    assert "expected stream glue-four in an order of forth, back" in refused(board, tmp_path / "other.json")


def test_a_board_of_one_state_of_the_code_takes_no_other(tmp_path) -> None:
    rules.save(made.rules(code="another"), tmp_path / "board")
    assert 'expected source of the package "another"' in refused(tmp_path / "board", made.runs(tmp_path / "runs"))


def broken(record: Record) -> dict[str, Record]:
    """Runs that have no number, or none to be trusted."""
    cells = [cell for cell in record.cells if (cell.after, cell.task) != (2, 1)]
    return {
        "cells that average_accuracy@1 reads are missing: 1": made.measured(record, cells),
        "is undefined": made.measured(record, [cell for cell in record.cells if cell.after < 0]),
        "changed during the run": record.model_copy(update={"modules_unchanged": False}),
        "its id is": record.model_copy(update={"id": "f" * 16}),
    }


@pytest.mark.parametrize("why", list(broken(made.record())))
def test_a_run_without_a_sound_number_is_refused(board, tmp_path, why: str) -> None:
    save(broken(made.record())[why], tmp_path / "run.json")
    assert why in refused(board, tmp_path / "run.json")


def test_all_metrics_of_a_new_record_must_follow_from_its_cells(board, tmp_path) -> None:
    record = made.record()
    forged = record.metrics["forgetting"].model_copy(update={"value": -0.5})
    save(record.model_copy(update={"metrics": {**record.metrics, "forgetting": forged}}), tmp_path / "run.json")
    assert "its forgetting is -0.5" in refused(board, tmp_path / "run.json")


def test_another_run_of_the_same_seed_and_order_replaces_nothing(board, tmp_path) -> None:
    add(board, [made.runs(tmp_path / "runs")])
    save(made.record().model_copy(update={"seconds": 1.0}), tmp_path / "again.json")
    assert "never replaced" in refused(board, tmp_path / "again.json")


def test_two_rows_of_one_name_are_refused_with_how_they_differ(board, tmp_path) -> None:
    made.runs(tmp_path / "runs")
    made.runs(tmp_path / "runs", recipe={"lr": 0.1})
    why = refused(board, tmp_path / "runs")
    assert "two rows would be called isolated-lora; they differ in recipe" in why


def test_a_name_that_is_taken_by_other_choices_is_refused(board, tmp_path) -> None:
    add(board, [made.runs(tmp_path / "runs")])
    other = made.runs(tmp_path / "more", recipe={"lr": 0.1})
    assert "row isolated-lora of the board differs from these runs in recipe" in refused(board, other)
    assert add(board, [other], "lora-fast").new == {"lora-fast": 6}
    assert "these runs are row lora-fast of the board" in refused(board, other, "lora-faster")


def test_a_name_is_for_one_row(board, tmp_path) -> None:
    made.runs(tmp_path / "runs")
    made.runs(tmp_path / "runs", method="bottleneck")
    with pytest.raises(
        ContinualError, match="names one row, and these runs make 2: isolated-bottleneck, isolated-lora"
    ):
        add(board, [tmp_path / "runs"], "mine")


@pytest.mark.parametrize("name", ["../out", "<script>", "a|b", "", ".hidden"])
def test_a_name_that_is_no_folders_is_refused(board, tmp_path, name: str) -> None:
    assert "is no name" in refused(board, made.runs(tmp_path / "runs"), name)


def test_a_method_whose_name_leads_elsewhere_names_no_folder(board, tmp_path) -> None:
    assert "is no name" in refused(board, made.runs(tmp_path / "runs", method="../../out"))
    assert list(tmp_path.glob("out*")) == []


def test_a_folder_without_runs_is_an_error(board, tmp_path, command: Callable) -> None:
    (tmp_path / "empty").mkdir()
    ended = command("board", "add", board, tmp_path / "empty")
    assert (ended.code, "no run below" in ended.err) == (1, True)


def test_what_is_no_run_is_said_and_the_others_are_taken(board, tmp_path, command: Callable) -> None:
    folder = made.runs(tmp_path / "runs")
    (folder / "torn").mkdir()
    (folder / "torn" / "run.json").write_text('{"schema_version": 1, "id"', encoding="utf-8")
    ended = command("board", "add", board, folder)
    assert ended.code == 1
    assert "isolated-lora: 6 records" in ended.out
    assert "torn/run.json: " in ended.err
    assert len(open_board(board).standings) == 1
