"""Bytes on disk: all of them, or what was there before."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continual.errors import ContinualError, CorruptError
from continual.files import append_line, canonical, read_lines, require_writable, sha256, write_atomic, write_json

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
ROWS: list[Any] = [{"task": 0, "score": 0.5}, ["é", None], 3]


@given(st.dictionaries(st.text(), values, max_size=4))
def test_canonical_json_says_the_same_in_any_order_of_keys(value: dict[str, Any]) -> None:
    assert canonical(value) == canonical(dict(reversed(value.items())))
    assert json.loads(canonical(value)) == value


def test_nan_is_refused_wherever_json_is_written(tmp_path: Path) -> None:
    for write in (
        canonical,
        lambda value: write_json(tmp_path / "x", value),
        lambda value: append_line(tmp_path / "x", value),
    ):
        with pytest.raises(ValueError, match="JSON compliant"):
            write({"score": math.nan})
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.binary(), max_size=4), st.lists(st.binary(), max_size=4))
def test_different_parts_have_different_digests(one: list[bytes], two: list[bytes]) -> None:
    assert (sha256(*one) == sha256(*two)) == (one == two)


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomic(path, b"old")
    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, _interrupt)
            with pytest.raises(KeyboardInterrupt):
                write_atomic(path, b"new")
        assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
        assert path.read_bytes() == b"old"
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def _interrupt(*args: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    for row in ROWS:
        append_line(path, row)
    return path


def test_lines_come_back_in_order(lines: Path, tmp_path: Path) -> None:
    assert read_lines(lines) == ROWS
    assert read_lines(tmp_path / "none.jsonl") == []


def test_a_torn_last_line_is_cut_off_wherever_it_tore(lines: Path) -> None:
    whole = lines.read_bytes()
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(start, len(whole)):
        lines.write_bytes(whole[:end])
        assert read_lines(lines) == ROWS[:2]
        append_line(lines, ROWS[2])
        assert lines.read_bytes() == whole


def test_any_damage_before_the_end_is_noticed(lines: Path) -> None:
    whole = lines.read_bytes()
    for position in range(len(whole) - 1):  # without its last byte the last line is a torn one
        lines.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(CorruptError, match=r"ledger\.jsonl, line [123]: checksum does not match"):
            read_lines(lines)


def test_a_folder_that_cannot_be_written_to_is_named_before_any_work(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "runs")
    assert list((tmp_path / "new" / "runs").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ContinualError, match=r"cannot write to .*file/runs .*paths\.runs="):
        require_writable(tmp_path / "file" / "runs")


def test_a_line_that_is_too_deep_to_be_read_is_damage(lines: Path) -> None:
    lines.write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(CorruptError, match="line 1: checksum does not match"):
        read_lines(lines)
