"""CSV and Parquet say the same of every run, and a spreadsheet computes nothing of it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import duckdb
import pytest
from pyarrow import BufferReader, parquet

from continual.board import lines, rules
from continual.board.add import add
from continual.board.standings import Board, open_board
from continual.report.record import save

from . import made

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return open_board(made.board(tmp_path, {"lora": {}, "other": {"method": "=cmd|' /C calc'!A0", "gain": 0.01}}))


def table(board: Board) -> list[dict]:
    return parquet.read_table(BufferReader(lines.to_parquet(board))).to_pylist()


def test_there_is_a_line_for_every_run_of_every_row(board: Board) -> None:
    found = table(board)
    assert [(line["row"], line["seed"], line["order"]) for line in found] == [
        (row, *job) for row in ("other", "lora") for job in made.rules().jobs
    ]
    assert {line["rank"] for line in found if line["row"] == "lora"} == {2}


def test_a_line_has_the_runs_own_number_and_its_rows_mean(board: Board) -> None:
    found = [line for line in table(board) if line["row"] == "lora"]
    assert all(line["value"] == line["average_accuracy"] for line in found)
    assert found[0]["mean"] == pytest.approx(sum(line["value"] for line in found) / 6)
    assert found[0]["low"] < found[0]["mean"] < found[0]["high"]
    assert found[0]["stored_bytes"] == sum(module.bytes for module in made.record().modules)


def test_a_row_of_one_run_has_no_interval(tmp_path: Path) -> None:
    rules.save(made.rules(seeds=[0], orders=made.rules().orders[:1]), tmp_path / "board")
    save(made.record(), tmp_path / "run.json")
    assert add(tmp_path / "board", [tmp_path / "run.json"]).refused == []
    [line] = table(open_board(tmp_path / "board"))
    assert (line["low"], line["high"]) == (None, None)


def test_an_undefined_metric_is_empty(board: Board) -> None:
    assert {line["intransigence"] for line in table(board)} == {None}
    assert {line["intransigence"] for line in csv.DictReader(io.StringIO(lines.to_csv(board).decode()))} == {""}


def test_csv_and_parquet_say_the_same(board: Board) -> None:
    read = list(csv.DictReader(io.StringIO(lines.to_csv(board).decode())))
    for text, line in zip(read, table(board), strict=True):
        for name, kind in lines.columns().items():
            value = line[name]
            assert text[name] == ("" if value is None else lines.text(value) if kind is str else str(value))


def test_a_cell_that_begins_as_a_formula_is_marked_as_text(board: Board) -> None:
    cells = [cell for line in csv.reader(io.StringIO(lines.to_csv(board).decode())) for cell in line]
    assert "'=cmd|' /C calc'!A0" in cells
    assert not any(re.match(r"[=+@]|-[^\d]", cell) for cell in cells)


def test_the_query_of_the_readme_gives_the_ranking(board: Board, tmp_path: Path) -> None:
    (tmp_path / "leaderboard.parquet").write_bytes(lines.to_parquet(board))
    [query] = re.findall(r"```sql\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    query = re.sub(r"'[^']*leaderboard.parquet'", f"'{tmp_path / 'leaderboard.parquet'}'", query)
    with duckdb.connect() as connection:
        found = connection.execute(query).fetchall()
    assert [row[0] for row in found] == ["other", "lora"]
