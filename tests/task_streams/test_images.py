"""Folders and zips of pictures: what is a task, a split and a class, and what is read of each file."""

from __future__ import annotations

import builtins
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from continual.errors import ContinualError
from continual.stream.base import Image, Stream, Task
from continual.stream.lint import check
from continual.task_streams import images

pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed: pip install -e '.[vision]'")


def picture(number: int, height: int = 4, width: int = 6, mode: str = "RGB") -> Any:
    rng = np.random.default_rng(number)
    return pillow.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


def folder(root: Path, *names: str, count: int = 5) -> str:
    """``count`` pictures in each of the folders, all of them different."""
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture(100 * place + number).save(root / name / f"{number}.png")
    return str(root)


def sizes(task: Task) -> list[int]:
    return [len(rows) for rows in task.splits.values()]


def test_a_folder_for_each_class_is_a_task(tmp_path: Path) -> None:
    root = folder(tmp_path / "Pets", "dog", "cat", count=10)
    (tmp_path / "Pets" / "cat" / "notes.txt").write_text("none")
    (tmp_path / "Pets" / ".cache").mkdir()
    picture(1).save(tmp_path / "Pets" / ".cache" / "1.png")
    [task] = images.tasks([root])
    assert (task.name, task.labels, task.head, sizes(task)) == ("pets", ("cat", "dog"), "classify", [14, 2, 4])
    assert check(Stream("images", (task,))) == []
    first = Image(4, 6, np.asarray(picture(100)).tobytes())
    assert [row.label for rows in task.splits.values() for row in rows if row.text == first] == [0]


def test_folders_named_train_valid_and_test_are_the_splits(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", *(f"{part}/{label}" for part in ("train", "test") for label in ("cat", "dog")))
    [task] = images.tasks([root], valid=2)
    assert sizes(task) == [8, 2, 10]


def test_a_folder_of_tasks_is_as_many_tasks(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "all", "Pets/cat", "Pets/dog", "plants/train/fern", "plants/train/rose", "plants/test/rose"
    )
    tasks = images.tasks([root], valid=2, test=2)
    assert [(task.name, task.labels, sizes(task)) for task in tasks] == [
        ("pets", ("cat", "dog"), [6, 2, 2]),
        ("plants", ("fern", "rose"), [8, 2, 5]),
    ]


def test_folders_can_be_named_and_splits_be_given(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "a", "cat", "dog"), folder(tmp_path / "b", "cat")
    [task] = images.tasks({"pets": {"train": one, "test": two}}, valid=2)
    assert (task.name, sizes(task)) == ("pets", [8, 2, 5])


def test_a_zip_is_read_as_the_folder_in_it(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", "train/cat", "train/dog", "test/cat")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", root)
    [one], [two] = images.tasks({"pets": root}), images.tasks({"pets": packed})
    assert one.digest == two.digest


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = Path(folder(tmp_path / "a", "cat", "dog"))
    made = picture(7, mode=mode)
    made.save(path / "cat" / "9.png", **({"transparency": 0} if mode == "P" else {}))
    [task] = images.tasks({"a": {"train": str(path), "valid": str(path), "test": str(path)}})
    assert task.train[5].text.pixels == made.convert("RGB").tobytes()


def test_a_picture_is_turned_upright_and_large_ones_are_shrunk(tmp_path: Path) -> None:
    path = Path(folder(tmp_path / "a", "cat", "dog"))
    made = picture(7, 20, 40)
    turned = pillow.Exif()
    turned[0x0112] = 6  # lies on its side
    made.save(path / "cat" / "9.png", exif=turned)
    files = {"a": {"train": str(path), "valid": str(path), "test": str(path)}}
    whole, small = (images.tasks(files, size=size)[0].train for size in (None, 10))
    assert [(row.text.height, row.text.width) for row in (whole[5], small[5], small[0])] == [(40, 20), (10, 5), (4, 6)]


def test_what_is_wrong_with_a_folder_is_named(tmp_path: Path) -> None:
    def wrong(message: str, files: Any, **options: Any) -> None:
        with pytest.raises(ContinualError, match=message):
            images.tasks(files, **options)

    wrong("nowhere: no such folder or zip", [str(tmp_path / "nowhere")])
    wrong("a: no pictures; expected a folder for each class", [folder(tmp_path / "a", "cat", count=0)])
    loose = Path(folder(tmp_path / "b", "cat", "dog"))
    picture(0).save(loose / "0.png")
    wrong(r"b: expected a folder/class/picture, got '0\.png'", [str(loose)])
    (loose / "0.png").unlink()
    (loose / "cat" / "x.png").write_bytes((loose / "cat" / "0.png").read_bytes()[:50])
    wrong(r"cat/x\.png: cannot be read as a picture.*mend or drop", [str(loose)])
    (loose / "cat" / "x.png").write_text("<html>")
    wrong(r"cat/x\.png: cannot be read as a picture", [str(loose)])
    (tmp_path / "c.zip").write_text("none")
    wrong(r"c\.zip: cannot be read as a zip", [str(tmp_path / "c.zip")])
    wrong("task 'd'.*no pictures for train, only for test", [folder(tmp_path / "d", "test/cat", "test/dog")])
    lacks = [folder(tmp_path / "e", "train/cat", "train/dog", "test/cow")]
    wrong("classes that train lacks: 'cow'; train has 'cat', 'dog'.*test/cow", lacks)
    wrong("expected .*got 'x/y/cat/0.png'", [folder(tmp_path / "f", "x/y/cat")])
    wrong("stream.size must be at least 1", [str(loose)], size=0)


def test_without_pillow_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "PIL":
            raise ModuleNotFoundError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ContinualError, match=r"pip install pillow"):
        images.tasks([str(tmp_path)])


def test_a_row_is_what_pillow_reads_of_the_file(tmp_path: Path) -> None:
    path = Path(folder(tmp_path / "a", "cat", "dog"))
    buffer = io.BytesIO()
    picture(3, 16, 16).save(buffer, "JPEG")
    (path / "cat" / "9.jpg").write_bytes(buffer.getvalue())
    [task] = images.tasks({"a": {"train": str(path), "valid": str(path), "test": str(path)}})
    assert task.train[5].text == Image(16, 16, pillow.open(buffer).tobytes())
