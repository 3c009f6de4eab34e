"""Repositories of data sets at a commit: where their files come from, which are read, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest

from continual.errors import ContinualError
from continual.stream.repository import Pin, tables
from tests.hub import OTHER, REVISION, alone, cached, card, columns, parquet, repository, served

PIN = Pin("own/set", REVISION)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache, empty."""
    return alone(tmp_path, monkeypatch)


def texts(mirror: Path | None, pin: Pin = PIN) -> dict[str, list[str]]:
    return {split: list(rows["text"]) for split, rows in tables(pin, mirror).items()}


# Where the files come from


def test_a_folder_of_the_mirror_is_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    repository(tmp_path / "mirror", train=3, validation=1, test=2)
    found = texts(tmp_path / "mirror")
    assert found == {
        "train": ["train 0", "train 1", "train 2"],
        "validation": ["validation 0"],
        "test": ["test 0", "test 1"],
    }


def test_offline_the_cache_of_the_hub_gives_the_commit_that_is_named_and_no_other(tmp_path: Path, hub: Path) -> None:
    cached(repository(tmp_path / "one", train=3), hub)
    cached(repository(tmp_path / "two", train=5), hub, revision=OTHER)
    assert [len(texts(None, Pin("own/set", revision))["train"]) for revision in (REVISION, OTHER)] == [3, 5]
    with pytest.raises(
        ContinualError, match=rf"own/set \({'a' * 40}\) is not in the Hub's cache and cannot be fetched"
    ):
        tables(Pin("own/set", "a" * 40))


def test_the_cache_is_found_in_a_hidden_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the user's own is: ~/.cache/huggingface/hub."""
    hub = alone(tmp_path / ".cache", monkeypatch)
    folder = repository(tmp_path / "one")
    shutil.move(folder, tmp_path / "whole")
    for name in ("a", "b"):
        shutil.copytree(tmp_path / "whole", folder / name)
    card(folder, "a", "b")
    cached(folder, hub)
    assert len(texts(None, Pin("own/set", REVISION, "b"))["train"]) == 20


def test_nothing_at_hand_says_where_to_put_it() -> None:
    with pytest.raises(
        ContinualError, match=r"HF_HUB_OFFLINE is set\); set CONTINUAL_DATA to a folder that holds own/"
    ):
        tables(PIN)


def test_the_hub_is_asked_for_the_commit_and_for_the_files_of_the_configuration_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "remote/own/set"
    for name in ("a", "b"):
        parquet(folder / name / "train-00000-of-00001.parquet", columns(4, name))
    (folder / "a" / "weights.bin").write_bytes(b"never")
    card(folder, "a", "b", more="license: mit\n")
    card_text = (folder / "README.md").read_text()
    (folder / "README.md").write_text(
        "\n".join(line for line in card_text.splitlines() if not ("validation" in line or "test" in line))
    )
    fetched = served(monkeypatch, tmp_path / "remote", tmp_path / "local")
    assert texts(None, Pin("own/set", REVISION, "a"))["train"][0] == "a 0"
    assert sorted(set(fetched)) == ["README.md", "a/train-00000-of-00001.parquet"]


def test_a_branch_of_parquet_copies_has_a_folder_for_each_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        parquet(tmp_path / f"remote/own/set/{name}/train/0000.parquet", columns(4, name))
    fetched = served(monkeypatch, tmp_path / "remote", tmp_path / "local")
    assert texts(None, Pin("own/set", REVISION, "b")) == {"train": ["b 0", "b 1", "b 2", "b 3"]}
    assert fetched == ["b/train/0000.parquet"]


def test_a_repository_that_the_hub_does_not_know_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, tmp_path / "remote", tmp_path / "local")
    with pytest.raises(ContinualError, match=r"own/set .*cannot be fetched \(FileNotFoundError: 404 Client Error"):
        tables(PIN)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".jsonl.gz"])
def test_other_kinds_of_files_are_read_too_and_na_is_a_word(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "mirror/own/set"
    folder.mkdir(parents=True)
    rows = [{"text": "NA", "label": "None"}, {"text": "b", "label": "x"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if suffix in (".csv", ".tsv"):
        between = "," if suffix == ".csv" else "\t"
        lines = "".join(between.join(row) + "\n" for row in [["text", "label"], *map(dict.values, rows)])
    data = lines.encode()
    (folder / f"train{suffix}").write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    found = tables(PIN, tmp_path / "mirror")["train"]
    assert [dict(row) for row in found] == rows


def test_folders_may_be_splits_and_one_folder_of_any_name_is_no_question(tmp_path: Path) -> None:
    for split in ("train", "test"):
        parquet(tmp_path / f"a/own/set/data/{split}/0.parquet", columns(3, split))
        parquet(tmp_path / f"b/own/set/{split}/0.parquet", columns(3, split))
    assert texts(tmp_path / "a") == texts(tmp_path / "b") == {s: columns(3, s)["text"] for s in ("train", "test")}


# Stale caches


def same_size_and_time(path: Path, rows: dict[str, list]) -> None:
    before = path.stat()
    parquet(path, rows)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize("named", [True, False])
def test_other_content_is_noticed_whatever_its_name_size_and_time(tmp_path: Path, named: bool) -> None:
    """``datasets`` alone gives the first rows again: its cache goes by names, with a card, and by times, without."""
    pin = Pin("own/set", REVISION, "a" if named else "")
    for tag in ("one", "two"):
        parquet(tmp_path / tag / "own/set" / ("a" if named else "") / "train-00000-of-00001.parquet", columns(3, tag))
        if named:
            card(tmp_path / tag / "own/set", "a")
            readme = tmp_path / tag / "own/set/README.md"
            text = readme.read_text()
            kept = [line for line in text.splitlines() if not ("validation" in line or "test" in line)]
            readme.write_text("\n".join(kept))
    assert [texts(tmp_path / tag, pin)["train"][0] for tag in ("one", "two", "one")] == ["one 0", "two 0", "one 0"]
    [path] = (tmp_path / "one").rglob("*.parquet")
    same_size_and_time(path, columns(3, "six"))
    assert texts(tmp_path / "one", pin)["train"][0] == "six 0"


def test_equal_files_are_turned_into_arrow_once(tmp_path: Path) -> None:
    repository(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (a, b) = (tables(PIN, tmp_path / name)["train"].cache_files for name in ("one", "two"))
    assert a == b
    assert str(tmp_path / "cache") in a[0]["filename"]


# What is refused


@pytest.mark.parametrize("revision", ["", "main", "v1.0", "refs/convert/parquet", REVISION[:12], REVISION.upper()])
def test_what_is_no_commit_is_refused_with_the_way_to_find_it(tmp_path: Path, revision: str) -> None:
    repository(tmp_path)
    with pytest.raises(ContinualError, match=r"may move; give the full hash, 40 hex digits: ") as caught:
        tables(Pin("own/set", revision), tmp_path)
    assert 'dataset_info("own/set").sha' in str(caught.value)


@pytest.mark.parametrize("repo", ["set", "own/set/more", "../set", "own/..", "", "own/", "https://x/y", "csv"])
def test_what_names_no_repository_is_refused(tmp_path: Path, repo: str) -> None:
    with pytest.raises(ContinualError, match="expected owner/name"):
        tables(Pin(repo, REVISION), tmp_path)


@pytest.mark.parametrize("source", ["mirror", "cache"])
def test_a_script_is_refused_and_never_run(tmp_path: Path, hub: Path, source: str) -> None:
    folder = repository(tmp_path / "mirror")
    (folder / "set.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    cached(folder, hub)
    with pytest.raises(
        ContinualError, match=r"made by a script, set\.py, and no code .* refs/convert/parquet as revision"
    ):
        tables(PIN, tmp_path / "mirror" if source == "mirror" else None)
    assert not (tmp_path / "ran").exists()


def test_configurations_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.move(repository(tmp_path / name), tmp_path / f"m/own/set/{name}")
    with pytest.raises(ContinualError, match=r"own/set \(c\) in .*no file with rows"):
        tables(Pin("own/set", REVISION, "c"), tmp_path / "m")
    with pytest.raises(ContinualError, match=r"own/set has rows in several folders; give config=, one of: a, b"):
        tables(PIN, tmp_path / "m")
    card(tmp_path / "m/own/set", "a", "b")
    assert set(tables(Pin("own/set", REVISION, "b"), tmp_path / "m")) == {"train", "validation", "test"}
    with pytest.raises(ContinualError, match=r"own/set has 2 configurations; give config=, one of: a, b"):
        tables(PIN, tmp_path / "m")
    with pytest.raises(ContinualError, match=r"own/set: unknown configuration 'c'; choose from: a, b"):
        tables(Pin("own/set", REVISION, "c"), tmp_path / "m")
    with pytest.raises(ContinualError, match=r"config='\.\./x' is the name of no configuration"):
        tables(Pin("own/set", REVISION, "../x"), tmp_path / "m")


@pytest.mark.parametrize("path", ["https://x.org/a.csv", "hf://datasets/o/n/a.csv", "../a.csv", "/etc/a.csv"])
def test_a_card_cannot_name_files_elsewhere(tmp_path: Path, path: str) -> None:
    folder = repository(tmp_path)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: a\n  data_files: {path}\n---\n")
    with pytest.raises(ContinualError, match="names files outside of the repository"):
        tables(PIN, tmp_path)


def test_a_repository_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own/set").mkdir(parents=True)
    (tmp_path / "own/set/data.bin").write_bytes(b"x")
    with pytest.raises(
        ContinualError, match=r"own/set in .*no file with rows \(\.parquet, \.csv.*refs/convert/parquet"
    ):
        tables(PIN, tmp_path)


def test_other_kinds_of_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own/set").mkdir(parents=True)
    (tmp_path / "own/set/train.txt").write_text("a\nb\n")
    with pytest.raises(ContinualError, match=r"own/set: its files are of the kind text; this stream reads"):
        tables(PIN, tmp_path)


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    for part in (0, 2):
        parquet(tmp_path / f"own/set/train-0000{part}-of-00003.parquet", columns(3))
    with pytest.raises(ContinualError, match=r"own/set: of the 3 files train-…, number 1 is missing; fetch all"):
        tables(PIN, tmp_path)


def test_a_split_that_the_card_names_and_that_is_not_there_is_said(tmp_path: Path) -> None:
    parquet(tmp_path / "own/set/a/train-00000-of-00001.parquet", columns(3))
    card(tmp_path / "own/set", "a")
    with pytest.raises(ContinualError, match=r"own/set in .*of splits that its README\.md names there are no files"):
        tables(PIN, tmp_path)


def test_rows_that_are_not_as_many_as_the_card_says_are_refused(tmp_path: Path) -> None:
    folder = repository(tmp_path, train=5)
    splits = "dataset_info:\n  splits:\n  - name: train\n    num_bytes: 1\n    num_examples: 9\n"
    (folder / "README.md").write_text(f"---\n{splits}---\n")
    with pytest.raises(ContinualError, match=r"own/set in .*more or fewer rows than its README\.md says"):
        tables(PIN, tmp_path)


@pytest.mark.parametrize("text", ["configs: [a, b]", "configs: {: x", "configs:\n- config_name: [a]\n  data_files: 3"])
def test_a_broken_card_is_said(tmp_path: Path, text: str) -> None:
    folder = repository(tmp_path)
    (folder / "README.md").write_text(f"---\n{text}\n---\n")
    with pytest.raises(ContinualError, match=r"^own/set( in .*; mend the files, or name another revision)?"):
        tables(PIN, tmp_path)


def test_a_broken_file_is_said_with_its_cause(tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / "own/set/train-00000-of-00001.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ContinualError, match=r"own/set in .*ArrowInvalid: .*[Pp]arquet.*; mend the files"):
        tables(PIN, tmp_path)
