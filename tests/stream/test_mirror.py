"""A mirror's files, plain and packed, and what is said where they are not."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from continual.errors import ContinualError, CorruptError, DataError
from continual.stream.mirror import SOURCES, read, read_json, read_text

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTINUAL_DATA", raising=False)


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_is_read_plain_or_unpacked_and_plain_goes_first(tmp_path: Path) -> None:
    write(tmp_path / "clinc150/a.json.gz", gzip.compress(b"packed"))
    assert read("clinc150/a.json", tmp_path) == b"packed"
    assert read("clinc150/a.json", str(tmp_path)) == b"packed"
    write(tmp_path / "clinc150/a.json", b"plain")
    assert read("clinc150/a.json", tmp_path) == b"plain"


def test_the_environment_names_the_mirror_where_no_argument_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "one/a.json", b"one")
    write(tmp_path / "two/a.json", b"two")
    monkeypatch.setenv("CONTINUAL_DATA", str(tmp_path / "one"))
    assert read("a.json") == b"one"
    assert read("a.json", tmp_path / "two") == b"two"


def test_an_absent_file_is_named_with_both_places_and_its_source(tmp_path: Path) -> None:
    with pytest.raises(ContinualError) as caught:
        read("clinc150/data_full.json", tmp_path)
    for part in (
        str(tmp_path / "clinc150/data_full.json") + " and",
        str(tmp_path / "clinc150/data_full.json.gz"),
        "github.com/clinc/oos-eval@828f8093932c8fe6ca7936c3d2e52903b1c523de, data",
    ):
        assert part in str(caught.value)


def test_without_a_mirror_the_ways_to_give_one_are_named() -> None:
    with pytest.raises(ContinualError, match=r"banking77/train\.csv\.gz: stream\.mirror=.*CONTINUAL_DATA.*PolyAI"):
        read("banking77/train.csv")
    with pytest.raises(ContinualError, match=r"mine/a\.csv: no mirror.*CONTINUAL_DATA$"):
        read("mine/a.csv")


CUT = gzip.compress(b"whole" * 100, mtime=0)[:-9]


@pytest.mark.parametrize("data", [b"no gzip", CUT, b""], ids=["none", "cut", "empty"])
def test_a_broken_packed_file_is_named(tmp_path: Path, data: bytes) -> None:
    write(tmp_path / "a.json.gz", data)
    with pytest.raises(CorruptError, match=r"a\.json\.gz: not a whole gzip file"):
        read("a.json", tmp_path)


def test_texts_and_json_are_decoded_and_what_is_neither_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path / "a.json", '{"a": "é\\r\\n"}'.encode())
    assert read_json("a.json", tmp_path) == {"a": "é\r\n"}
    write(tmp_path / "b.tsv.gz", gzip.compress("one\r\ntwo é".encode("latin-1")))
    assert read_text("b.tsv", tmp_path, "latin-1") == "one\r\ntwo é"
    with pytest.raises(DataError, match=r"b\.tsv, line 2: not utf-8 \(byte 0xe9\)"):
        read_text("b.tsv", tmp_path)
    with pytest.raises(DataError, match=r"b\.tsv, line 2: not utf-8"):
        read_json("b.tsv", tmp_path)
    write(tmp_path / "c.json", b"[1,")
    with pytest.raises(DataError, match=r"c\.json: not JSON"):
        read_json("c.json", tmp_path)


def test_the_sources_are_those_that_the_folders_name() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    for file in DATA.glob("*/SOURCE.txt"):
        facts = dict(re.findall(r"(repo|commit): (?:github\.com/)?(\S+)", file.read_text(encoding="utf-8")))
        assert SOURCES[file.parent.name].startswith(f"{facts['repo']}@{facts['commit']}"), file.parent.name
