"""A board is checked again each time it is opened: what was edited is not in the table, and is said."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from continual.board import page, records
from continual.board.standings import open_board
from continual.errors import ContinualError
from continual.report.record import save

from . import made

HOSTILE = "<script>alert(1)</script>|\n# [x](javascript:1)\x1b[31m"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return made.board(tmp_path, {"lora": {}, "bottleneck": {"method": "bottleneck", "gain": 0.01}})


def rejected(board: Path) -> str:
    return "\n".join(f"{skip.path}: {skip.why}" for skip in open_board(board).rejected)


def names(board: Path) -> list[str]:
    return [standing.row.name for standing in open_board(board).standings]


def test_rows_stand_by_their_scores(board: Path) -> None:
    assert names(board) == ["bottleneck", "lora"]
    assert rejected(board) == ""


def test_an_edited_record_is_rejected_and_its_row_is_not_ranked(board: Path) -> None:
    path = sorted(board.glob("records/lora/*.json"))[0]
    path.write_text(path.read_text(encoding="utf-8").replace('"seconds": 83.4', '"seconds": 8.4'), encoding="utf-8")
    assert names(board) == ["bottleneck"]
    assert f"records/lora/{path.name}: edited" in rejected(board)
    assert "records/lora: not ranked: it lacks seed" in rejected(board)


def test_a_record_that_was_raised_and_named_anew_is_rejected_too(board: Path) -> None:
    path = sorted(board.glob("records/lora/*.json"))[0]
    value = json.loads(path.read_text(encoding="utf-8"))
    value["metrics"]["average_accuracy"]["value"] = 0.999
    path.unlink()
    records.put(board, "lora", json.dumps(value).encode())
    assert names(board) == ["bottleneck"]
    assert "its average_accuracy is 0.999 with" in rejected(board)


def test_a_half_written_record_is_rejected_and_a_hidden_file_is_not_looked_at(board: Path) -> None:
    (board / "records" / "lora" / ".x.tmp").write_text("{")
    assert rejected(board) == ""
    records.put(board, "lora", b'{"schema_version": 1,')
    assert "is not a run record" in rejected(board)
    assert len(names(board)) == 2


def test_a_row_has_one_set_of_choices(board: Path) -> None:
    path = sorted(board.glob("records/bottleneck/*.json"))[0]
    shutil.move(path, board / "records" / "lora" / path.name)
    assert names(board) == ["lora"]
    assert f"records/lora/{path.name}: differs from" in rejected(board)
    assert "and others in method" in rejected(board)
    assert "records/bottleneck: not ranked" in rejected(board)


def test_a_second_run_of_a_seed_and_order_is_rejected(board: Path, tmp_path: Path) -> None:
    save(made.record().model_copy(update={"seconds": 0.5}), tmp_path / "again.json")
    records.put(board, "lora", (tmp_path / "again.json").read_bytes())
    assert "a second run of seed 0, order forth" in rejected(board)
    assert len(names(board)) == 2


def test_a_row_of_which_no_record_is_admitted_is_no_row(board: Path) -> None:
    made.edit(board / "board.json", lambda rules: rules["frozen"].update({"method.rank": 4}))
    assert names(board) == []
    assert rejected(board).count("expected method.rank 4, got null") == 12


def test_what_lies_beside_the_records_is_said(board: Path) -> None:
    (board / "records" / "notes.txt").write_text("mine")
    (board / "records" / "lora" / "deeper").mkdir()
    shutil.copytree(board / "records" / "lora", board / "records" / HOSTILE.replace("/", "_"))
    assert len(names(board)) == 2
    for word in ("notes.txt", "deeper", "is no name"):
        assert word in rejected(board)


def test_records_outside_of_a_rows_folder_are_no_row(board: Path) -> None:
    for path in (board / "records" / "lora").iterdir():
        path.rename(board / "records" / path.name)
    assert names(board) == ["bottleneck"]
    assert rejected(board).count("expected a file records/ROW/SHA256.json") == 6


def test_a_board_without_rows_has_a_page(tmp_path: Path) -> None:
    text = page.render(open_board(made.board(tmp_path, {})))
    assert "No row yet." in text


def test_the_page_has_ranks_intervals_and_differences(board: Path) -> None:
    text = page.render(open_board(board))
    assert "| 1 | bottleneck | isolated | bottleneck |" in text
    assert "| 2 | lora | isolated | lora |" in text
    assert "−1.0 (−1.0 to −1.0)" in text
    assert "6 runs. All share: `trainer.epochs=3`" in text


def test_a_tie_is_marked(tmp_path: Path) -> None:
    text = page.render(open_board(made.board(tmp_path, {"a": {}, "b": {"recipe": {}}})))
    assert "| 1 (tie) | b |" in text
    assert "0.0 (0.0 to 0.0), inside the noise" in text


def test_failures_and_states_of_the_code_are_said(tmp_path: Path) -> None:
    rows = {"a": {}, "b": {"code": "newer"}}
    text = page.render(open_board(made.board(tmp_path, rows)))
    assert "made with 2 states of the package's source" in text
    assert "finished with failures" not in text
    for path in (tmp_path / "board").glob("records/a/*.json"):
        data = path.read_bytes().replace(b'"status": "finished"', b'"status": "finished with failures"')
        path.unlink()
        records.put(tmp_path / "board", "a", data)
    assert "Of row a 6 runs finished with failures." in page.render(open_board(tmp_path / "board"))


def test_published_numbers_stand_apart_with_their_source(board: Path) -> None:
    rows = [
        {"name": "theirs", "value": 0.99, "source": "A paper, table 2"},
        {"name": "old", "value": 0.1, "source": "B"},
    ]
    (board / "published.json").write_text(json.dumps(rows), encoding="utf-8")
    table, _, apart = page.render(open_board(board)).partition("## Published, not run again here")
    assert "theirs" not in table
    assert "| <sub>theirs</sub> | <sub>99.0</sub> | <sub>A paper, table 2</sub> |" in apart
    assert apart.index("theirs") < apart.index("old")


def test_a_published_number_without_a_source_is_refused(board: Path) -> None:
    (board / "published.json").write_text('[{"name": "theirs", "value": 0.99}]', encoding="utf-8")
    with pytest.raises(ContinualError, match=r"published\.json: expected a list.*0\.source"):
        open_board(board)


def test_an_address_of_a_published_row_is_a_link(board: Path) -> None:
    where = "https://example.org/a_b/c~d?e=f&g#h"
    value = {
        "name": "them",
        "value": 0.5,
        "source": f"Them, 2023 ({where}).",
        "note": "ftp://no <http://x|y> http:// _",
    }
    (board / "published.json").write_text(json.dumps([value]), encoding="utf-8")
    text = page.render(open_board(board))
    assert f"<sub>Them, 2023 (<{where}>).</sub>" in text
    assert r"<sub>ftp://no &lt;<http://x>\|y&gt; http:// \_</sub>" in text


def test_hostile_text_is_shown_as_text(tmp_path: Path, command: Callable) -> None:
    board = made.board(tmp_path, {"lora": {"method": HOSTILE}}, asks=HOSTILE)
    value = [{"name": HOSTILE, "value": 0.5, "source": HOSTILE, "note": HOSTILE}]
    (board / "published.json").write_text(json.dumps(value), encoding="utf-8")
    (board / "records" / HOSTILE.replace("/", "_")).mkdir()
    (board / "records" / HOSTILE.replace("/", "_") / "x.json").write_text("{}")
    text = page.render(open_board(board))
    assert "<script>" not in text
    assert re.search(r"(?<!\\)\]\(", text) is None
    assert "\x1b" not in text + command("board", board).out
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    assert not any(line.startswith("# [") for line in text.splitlines())


def test_the_command_writes_the_same_files_twice_and_says_when_they_are_old(board: Path, command: Callable) -> None:
    files = ("LEADERBOARD.md", "leaderboard.csv", "leaderboard.parquet")
    assert command("board", board, "--check").code == 1
    ended = command("board", board)
    assert ended.code == 0
    assert ended.out.index("bottleneck") < ended.out.index("lora")
    first = {name: (board / name).read_bytes() for name in files}
    command("board", board)
    assert {name: (board / name).read_bytes() for name in files} == first
    assert command("board", board, "--check").code == 0
    (board / "LEADERBOARD.md").write_text("better")
    ended = command("board", board, "--check")
    assert ended.code == 1
    assert "is not what the records say" in ended.err


def test_the_command_ends_with_1_where_a_record_was_edited(board: Path, command: Callable) -> None:
    path = sorted(board.glob("records/lora/*.json"))[0]
    path.write_bytes(path.read_bytes() + b" ")
    ended = command("board", board)
    assert ended.code == 1
    assert "edited" in ended.out
    assert "edited" in (board / "LEADERBOARD.md").read_text(encoding="utf-8")


def test_a_board_without_rows_has_none_to_verify(tmp_path: Path, command: Callable) -> None:
    ended = command("board", "verify", made.board(tmp_path, {}), "lora")
    assert (ended.code, "has no whole row yet" in ended.err) == (1, True)


def test_a_folder_that_is_no_board_is_an_error_of_one_line(tmp_path: Path, command: Callable) -> None:
    ended = command("board", tmp_path / "nowhere")
    assert ended.code == 1
    assert "is no board" in ended.err
    assert "Traceback" not in ended.err
