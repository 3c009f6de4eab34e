"""Rated sentences of four domains, from the pinned archive or its files."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from continual.errors import ContinualError, CorruptError, DataError
from continual.stream.base import Stream
from continual.stream.lint import check
from continual.task_streams import domains

MEANS = (-2.5, -0.5, -0.4, 0.0, 0.4, 0.5, 3.875)


def packed(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


@pytest.fixture
def files() -> dict[str, bytes]:
    return {
        f"hutto_ICWSM_2014/{name}_GroundTruth.txt": "".join(
            f"{i}\t{MEANS[i % 7]}\t{name} number {i}\n" for i in range(70)
        ).encode()
        for name in domains.FILES.values()
    }


@pytest.fixture
def small(tmp_path: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return str(tmp_path)


def test_a_domain_is_a_task_of_mean_ratings(small: str) -> None:
    tasks = domains.tasks(mirror=small)
    assert [(task.name, task.head, task.labels) for task in tasks] == [(name, "regress", ()) for name in domains.FILES]
    for task in tasks:
        assert [len(rows) for rows in task.splits.values()] == [50, 6, 14]
        rows = {row.text: row.label for rows in task.splits.values() for row in rows}
        assert rows == {f"{domains.FILES[task.name]} number {i}": MEANS[i % 7] for i in range(70)}
    assert check(Stream("s", tuple(tasks), scenario="domain")) == []


def test_means_near_zero_are_neutral_where_polarity_is_asked_for(small: str) -> None:
    [task] = domains.tasks("classify", order=["tweets"], mirror=small)
    found = {row.text: task.labels[row.label] for rows in task.splits.values() for row in rows}
    names = [found[f"tweets number {i}"] for i in range(7)]
    assert names == ["negative", "negative", "neutral", "neutral", "neutral", "positive", "positive"]
    assert [sum(row.label == 1 for row in rows) / len(rows) for rows in (task.train, task.test)] == [0.44, 6 / 14], (
        "three of seven"
    )
    [wide] = domains.tasks("classify", neutral=0.6, order=["tweets"], shots=3, mirror=small)
    assert [row.label for row in wide.train].count(1) == 3
    assert check(Stream("s", (task,))) == []


def test_the_archive_is_read_without_unpacking_and_its_hash_is_checked(
    tmp_path: Path, files: dict[str, bytes], small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "vaderSentiment-3.2.1/additional_resources/hutto_ICWSM_2014.tar.gz"
    sdist = packed({place: packed(files), "vaderSentiment-3.2.1/setup.py": b"raise SystemExit"})
    mirror = tmp_path / "other"
    mirror.mkdir()
    (mirror / domains.SDIST).write_bytes(sdist)
    with pytest.raises(CorruptError, match=f"expected sha256 {domains.SHA256}, got [0-9a-f]{{64}}; replace it"):
        domains.tasks(mirror=str(mirror))
    monkeypatch.setattr(domains, "SHA256", hashlib.sha256(sdist).hexdigest())
    here, there = (Stream("s", tuple(domains.tasks(mirror=place))) for place in (str(mirror), small))
    assert here.digest == there.digest
    assert [path.name for path in mirror.iterdir()] == [domains.SDIST]


def test_what_is_wrong_is_named(small: str, tmp_path: Path) -> None:
    with pytest.raises(ContinualError, match="head of stream domains 'tag'; choose from: classify, regress"):
        domains.tasks("tag", mirror=small)
    with pytest.raises(DataError, match="unknown task 'books'; choose from: amazon, editorials"):
        domains.tasks(order=["books"], mirror=small)
    file = Path(small) / "hutto_ICWSM_2014/tweets_GroundTruth.txt"
    file.write_text("1\t0.5\tfine\n2\tgood\tfine\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"tweets_GroundTruth\.txt, line 2: expected an id, a number and a text"):
        domains.tasks(mirror=small)
    file.unlink()
    with pytest.raises(ContinualError, match=r"not in the mirror.*Or put vaderSentiment-3\.2\.1\.tar\.gz there"):
        domains.tasks(mirror=small)


@pytest.mark.real
@pytest.mark.parametrize("head", ["regress", "classify"])
def test_the_real_domains_are_as_large_as_the_docstring_says(head: str) -> None:
    try:
        tasks = domains.tasks(head)
    except (CorruptError, DataError):
        raise
    except ContinualError as error:
        pytest.skip(f"the archive is not at hand: {error}")
    counts = {task.name: sum(map(len, task.splits.values())) for task in tasks}
    assert counts == {"tweets": 4080, "amazon": 3687, "movies": 10_601, "editorials": 5052}
    warnings = check(Stream("domains", tuple(tasks), scenario="domain"))
    assert all("are in train of task" in warning for warning in warnings), warnings
