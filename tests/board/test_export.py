"""Other formats hold the board's numbers, and are what their own readers take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from huggingface_hub import EvalResultEntry
from huggingface_hub._eval_results import parse_eval_result_entries

from continual.board import every_eval, hub
from continual.board.standings import Board, open_board
from continual.errors import ContinualError

from . import made

# Their schema as it is in every-eval-ever 0.3.0 on PyPI, unedited, with its licence.
SCHEMA = json.loads((Path(__file__).parent / "every_eval_ever" / "eval.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = {"lora": {}, "bottleneck": {"method": "bottleneck", "gain": 0.01}}
    return made.board(tmp_path_factory.mktemp("export"), rows)


@pytest.fixture(scope="module")
def board(folder: Path) -> Board:
    return open_board(folder)


def logs(board: Board, folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in every_eval.export(board, folder)}


def test_every_file_is_valid_in_the_schema_of_the_version_it_names(board: Board, tmp_path: Path) -> None:
    found = logs(board, tmp_path)
    assert found.keys() == {"lora", "bottleneck"}
    for log in found.values():
        jsonschema.Draft7Validator(SCHEMA).validate(log)
        assert log["schema_version"] == SCHEMA["version"]


def test_the_schema_is_able_to_refuse(board: Board, tmp_path: Path) -> None:
    log = logs(board, tmp_path)["lora"]
    log["evaluation_results"][0]["score_details"]["score"] = "high"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(log)


def test_a_row_has_its_mean_with_the_boards_interval_and_then_each_run(board: Board, tmp_path: Path) -> None:
    standing = board.standings[1]
    mean, *runs = logs(board, tmp_path)["lora"]["evaluation_results"]
    uncertainty = mean["score_details"]["uncertainty"]
    assert mean["score_details"]["score"] == standing.score.mean
    assert uncertainty["confidence_interval"]["lower"] == standing.score.low
    assert uncertainty["num_samples"] == 6
    assert [run["score_details"]["score"] for run in runs] == list(standing.row.values.values())
    assert {run["score_details"]["details"]["record_sha256"] for run in runs} == {
        entry.path.stem for entry in standing.row.runs.values()
    }


def test_the_same_records_are_written_to_the_same_files(board: Board, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in every_eval.export(board, tmp_path / "a")}
    second = {path.name: path.read_bytes() for path in every_eval.export(board, tmp_path / "b")}
    assert first == second
    assert len(first) == 2


def test_the_hub_reads_the_results_that_were_written_for_it(board: Board, tmp_path: Path) -> None:
    paths = hub.export(board, tmp_path, "owner/made-up", "https://example.org/board")
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "bottleneck/.eval_results/made-up.yaml",
        "lora/.eval_results/made-up.yaml",
    ]
    [entry] = parse_eval_result_entries(yaml.safe_load(paths[0].read_text(encoding="utf-8")))
    assert isinstance(entry, EvalResultEntry)
    assert (entry.dataset_id, entry.task_id) == ("owner/made-up", "made-up")
    assert entry.value == board.standings[0].score.mean
    assert entry.source_url == "https://example.org/board"
    assert "mean of 6 runs" in (entry.notes or "")


def test_a_data_set_that_the_hub_cannot_have_is_refused(board: Board, tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match="expected owner/name"):
        hub.export(board, tmp_path, "made-up")


def test_the_command_exports_both(folder: Path, tmp_path: Path, command: Callable) -> None:
    assert command("board", "export", folder, "--format", "eee", "--out", tmp_path / "out", "--by", "us").code == 0
    [log] = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("data/made-up/continual/lora/*.json")]
    assert log["source_metadata"]["source_organization_name"] == "us"
    ended = command("board", "export", folder, "--format", "hf", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "needs --dataset OWNER/NAME" in ended.err
