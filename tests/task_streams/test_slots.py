"""Slots and intents of requests to an assistant."""

from __future__ import annotations

from pathlib import Path

import pytest

from continual.errors import DataError
from continual.stream.base import Example, Stream
from continual.stream.lint import check
from continual.task_streams import slots

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def written(root: Path) -> str:
    for part in ("train", "valid", "test"):
        folder = root / "snips" / part
        folder.mkdir(parents=True)
        (folder / "seq.in").write_text("".join(f"play  {part}{i} \n" for i in range(6)))
        (folder / "seq.out").write_text("O B-song\n" * 5 + "O B-album\n")
        (folder / "label").write_text("Play\nStop\n" * 3)
    return str(root)


def test_slots_are_tags_and_intents_classes_of_the_same_requests(tmp_path: Path) -> None:
    tagged, classed = slots.tasks(["snips", "snips-intents"], mirror=written(tmp_path))
    assert (tagged.head, tagged.labels, tagged.train[0]) == (
        "tag",
        ("O", "B-album", "B-song"),
        Example(("play", "train0"), (0, 2)),
    )
    assert (classed.head, classed.labels, classed.train[1]) == (
        "classify",
        ("Play", "Stop"),
        Example("play train1", 1),
    )
    assert check(Stream("slots", (tagged,))) == []
    assert [len(rows) for rows in slots.tasks(["snips"], 2, 3, 4, mirror=str(tmp_path))[0].splits.values()] == [2, 3, 4]


def test_files_of_different_lengths_are_refused(tmp_path: Path) -> None:
    root = written(tmp_path)
    (tmp_path / "snips/valid/label").write_text("Play\n")
    with pytest.raises(DataError, match=r"snips/valid: expected as many lines in seq\.in as in label, got 6 and 1"):
        slots.tasks(["snips-intents"], mirror=root)


def test_atis_and_snips_have_their_published_sizes_and_what_train_of_atis_lacks_is_said() -> None:
    if not (DATA / "atis").is_dir():
        pytest.skip(f"{DATA / 'atis'} is not there")
    mirror = str(DATA)
    published = {
        name: [len(slots._slots(f"{name}/{part}", mirror)) for part in slots.SPLITS] for name in ("atis", "snips")
    }
    assert published == {"atis": [4478, 500, 893], "snips": [13084, 700, 700]}
    tasks = slots.tasks(None, mirror=mirror)
    assert {task.name: (len(task.labels), *map(len, task.splits.values())) for task in tasks} == {
        "atis": (127, 4132, 490, 893),
        "snips": (72, 12819, 694, 700),
        "atis-intents": (26, 4133, 490, 893),
        "snips-intents": (7, 12820, 694, 700),
    }
    found = check(Stream("slots", tuple(tasks)))
    assert [warning.partition(":")[0] for warning in found] == [
        f"task {name!r}, {split}" for name in ("atis", "atis-intents") for split in ("valid", "test")
    ]
