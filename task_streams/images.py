"""Your own pictures as a stream: a folder for each class, or a zip of such folders; one task or several.

Licence and sizes: those of your files. Needs Pillow. On the command line alone:

    continual run stream=images 'stream.files=[animals,plants.zip]' encoder.name=models/my-vit

    animals/cat/1.jpg           a task with the class cat; valid and test are held out
    animals/train/cat/1.jpg     where there are folders train, valid, test, they are the splits
    all/animals/cat/1.jpg       a folder of tasks, each of one of the two forms above
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from continual.errors import DataError
from continual.stream.base import Example, Image, Task
from continual.stream.files import SPLITS, complete, named, require_known, sources
from continual.stream.picture import opener

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")

Found = dict[str, dict[str, list[tuple[str, Image]]]]  # task ("" if none is named) -> split -> (class, picture)


def tasks(
    files: str | Sequence[str] | Mapping[str, str | Mapping[str, str]],
    size: int | None = None,
    score: str = "",
    valid: int | float = 0.1,
    test: int | float = 0.2,
    seed: int = 0,
    train: int | None = None,
) -> list[Task]:
    """The tasks in the order of ``files``; those of one folder in the order of their names.

    files        [animals, plants.zip]: named after the folders; or {name: animals} or {name: {train: …, valid: …,
                 test: …}}, where only train is needed
    size         pictures with a longer side than so many pixels are shrunk to it when they are read; None: as they are.
                 All are kept in memory, 3 bytes a pixel: say what your encoder reads, for example 224
    valid, test  pictures (or a fraction of them, below 1) held out of train, stratified, where there are none
    train        at most so many pictures of train, a random stratified subset; None: all
    The labels are the sorted names of train's class folders; names that begin with a dot are left out. Raises
    DataError: no pictures, one that cannot be read, one outside a class folder, a class that train lacks;
    ContinualError without Pillow.
    """
    read = opener(size)
    result = []
    for name, paths in sources(files, "images").items():
        found: Found = {}
        for part, path in paths.items():
            for inner, splits in _found(Path(path), read, part if len(paths) > 1 else "").items():
                found.setdefault(inner, {}).update(splits)
        for inner, splits in found.items():
            title = name if len(found) == 1 else next(iter(named([inner])))
            rows, labels = _rows(title, splits, paths)
            whole = complete(rows, valid, test, seed, train, title)
            result.append(Task(title, labels, **whole, head="classify", score=score, source=", ".join(paths.values())))
    return result


def _rows(
    name: str, splits: Mapping[str, Sequence[tuple[str, Image]]], paths: Mapping[str, str]
) -> tuple[dict[str, list[Example]], tuple[str, ...]]:
    if "train" not in splits:
        raise DataError(f"task {name!r}, {paths['train']}: no pictures for train, only for {', '.join(splits)}")
    labels = tuple(sorted({label for label, _ in splits["train"]}))
    for part, pictures in splits.items():
        file = paths.get(part, paths["train"])
        require_known(((label, f"in {part}/{label}") for label, _ in pictures), labels, file, "classes")
    index = {label: i for i, label in enumerate(labels)}
    return {part: [Example(image, index[label]) for label, image in found] for part, found in splits.items()}, labels


def _found(path: Path, read: Callable[[str, bytes], Image], part: str) -> Found:
    """All pictures below a folder or in a zip; ``part``: the split they are of, "" if their folders may say it."""
    found: Found = {}
    for member, data in _members(path):
        *above, label = Path(member).parts[:-1] or ("",)
        if not label or (above and part):
            raise DataError(f"{path}: expected {part or 'a folder'}/class/picture, got {member!r}")
        split = above.pop() if above and above[-1] in SPLITS else part or "train"
        if len(above) > 1 or label in SPLITS:
            raise DataError(f"{path}: expected (task/)(train, valid or test/)class/picture, got {member!r}")
        task = found.setdefault(above[0] if above else "", {})
        task.setdefault(split, []).append((label, read(f"{path / member}", data)))
    if not found:
        raise DataError(f"{path}: no pictures; expected a folder for each class, in it {', '.join(SUFFIXES)}")
    return found


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(relative path, content) of each picture, in the order of the paths."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if _picture(inner := file.relative_to(path)) and file.is_file():
                yield inner.as_posix(), file.read_bytes()
        return
    if not path.is_file():
        raise DataError(f"{path}: no such folder or zip; paths are relative to the folder the command runs in")
    try:
        with ZipFile(path) as pack:
            for member in sorted(pack.namelist()):
                if _picture(Path(member)):
                    yield member, pack.read(member)
    except (BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read as a zip: {error}; expected a folder or a zip") from None


def _picture(path: Path) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden
