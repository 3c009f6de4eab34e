"""Data sets of the Hugging Face Hub at a pinned commit, or of a mirror of it, as Arrow tables that stay on disk.

What is read is files: Parquet, CSV, TSV, JSON and JSONL. No code of a repository is ever run.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from continual.assets import CARDS, ROWS, cache, hub_folder, mirrors
from continual.errors import ContinualError, DataError, unknown
from continual.files import canonical, sha256

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

READERS = ("parquet", "csv", "json")
"""The readers of ``datasets`` that are used."""

SCRIPT = (
    "where a script makes the rows, take the copy in Parquet that most such data sets have: the commit of the branch "
    "refs/convert/parquet as revision, and the configuration as config"
)
NO_ROWS = f"no file with rows ({', '.join(ROWS[::2])}) is there; {SCRIPT}"
ADVICE = {
    "EmptyDatasetError": NO_ROWS,
    "DataFilesNotFoundError": NO_ROWS,
    "NonMatchingSplitsSizesError": "there are more or fewer rows than its README.md says; fetch the files again",
    "ExpectedMoreSplitsError": "splits are missing that its README.md speaks of; fetch the files again",
    "ValueError: Couldn't infer the same data file format": "of splits that its README.md names there are no files, or "
    "of several kinds; fetch the files again",
}
"""What to do, by how the error of ``datasets`` begins."""


class Pin(NamedTuple):
    """One configuration of one commit of a repository; ``config`` is empty where there is only one."""

    repo: str
    revision: str
    config: str = ""

    def __str__(self) -> str:
        return f"{self.repo} ({self.config})" if self.config else self.repo


class Chosen(NamedTuple):
    """A configuration as ``datasets`` wants it: by the name that the card gives it, or a folder; and its files."""

    name: str | None
    folder: str | None
    patterns: list[str]


def require_pinned(pin: Pin) -> None:
    """Raises DataError for what names no repository, and for a revision that could move."""
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", pin.repo, re.ASCII):
        raise DataError(f"repo={pin.repo!r}: expected owner/name, as the page of the data set on the Hub is called")
    if not re.fullmatch(r"[0-9a-f]{40}", pin.revision):
        raise DataError(
            f"{pin.repo}: revision={pin.revision!r} is not a commit, and a branch or tag may move; give the full hash, "
            "40 hex digits: on the data set's page under Files, History, or by\n"
            f"  python -c 'import huggingface_hub as h; print(h.HfApi().dataset_info(\"{pin.repo}\").sha)'"
        )
    if re.search(r"[/\\*?]|^\.+$", pin.config):
        raise DataError(f"{pin.repo}: config={pin.config!r} is the name of no configuration")


def tables(pin: Pin, mirror: str | Path | None = None) -> Mapping[str, Dataset]:
    """Split -> its rows, memory-mapped from Arrow files in the cache; splits without rows are left out.

    From ``<mirror>/<repo>`` where that is a folder; else the commit's files, from the Hub or, offline, from its cache:
    those of the configuration only. The Arrow files are kept by the content of the files that they were made of.
    Raises ContinualError: nothing to be had, a script, an unknown configuration, no rows, files that are missing or
    broken.
    """
    require_pinned(pin)
    script = pin.repo.partition("/")[2] + ".py"
    folder = hub_folder(pin.repo, pin.revision, [*CARDS, script], mirror, "dataset")
    if (folder / script).is_file():
        raise DataError(f"{pin}: its rows are made by a script, {script}, and no code of others is run; {SCRIPT}")
    with _said(pin, folder):
        chosen = _chosen(pin, folder)
    folder = hub_folder(pin.repo, pin.revision, [*CARDS, *chosen.patterns], mirror, "dataset").resolve()
    with _said(pin, folder):
        builder = _builder(folder, chosen)
        files = sorted({str(file) for found in (builder.config.data_files or {}).values() for file in found})
        _require_whole(pin, files)
        if not (chosen.name or chosen.folder):
            _require_one(
                pin, {Path(file).relative_to(folder).parts[0] for file in files if Path(file).parent != folder}
            )
        builder.download_and_prepare(str(cache() / "arrow" / _content(folder, files, chosen)))
        filled = [split for split, found in (builder.info.splits or {}).items() if found.num_examples]
        if not filled:
            raise DataError("no rows in any split")
        return {split: cast("Dataset", builder.as_dataset(split)) for split in filled}


def origin(pin: Pin, mirror: str | Path | None = None) -> str:
    """Where ``tables`` reads: of a mirror nobody knows whether it holds the files of that commit."""
    mirrored = any((root / pin.repo).is_dir() for root in mirrors(mirror))
    return f"{pin} at {pin.revision}{', as a mirror has it' if mirrored else ''}"


def _chosen(pin: Pin, folder: Path) -> Chosen:
    """The configuration that is meant. Raises DataError for one that is not there, and where several are."""
    from huggingface_hub import metadata_load

    card = (metadata_load(folder / "README.md") or {}) if (folder / "README.md").is_file() else {}
    known = {str(found.get("config_name", "default")): found for found in card.get("configs") or []}
    if not known:  # then a configuration is a folder
        named = pin.config if pin.config != "default" else ""
        return Chosen(None, named or None, list(_patterns([f"{named}/*" if named else "*"])))
    if pin.config and pin.config not in known:
        raise DataError(f"{pin.repo}: {unknown('configuration', pin.config, known)}")
    default = [name for name, found in known.items() if len(known) == 1 or found.get("default") or name == "default"]
    if not pin.config and not default:
        raise DataError(f"{pin.repo} has {len(known)} configurations; give config=, one of: {', '.join(sorted(known))}")
    found = known[name := pin.config or default[0]]
    paths = list(_paths(found.get("data_files") or "*"))
    if odd := [path for path in paths if "://" in path or path.startswith("/") or ".." in PurePosixPath(path).parts]:
        raise DataError(f"{pin.repo}: its README.md names files outside of the repository ({odd[0]}), which are no pin")
    base = str(found.get("data_dir") or "").strip("/")
    return Chosen(name, None, list(_patterns(f"{base}/{path}".lstrip("/") for path in paths)))


def _paths(given: Any) -> Iterator[str]:
    """All paths of a card's ``data_files``: a path, a list of them, or a list of splits with theirs.

    >>> list(_paths([{"split": "train", "path": ["a/1.csv", "./a/2.csv"]}, {"split": "test", "path": "b/*"}]))
    ['a/1.csv', 'a/2.csv', 'b/*']
    """
    if isinstance(given, str):
        yield given.removeprefix("./")
    elif isinstance(given, Mapping):
        yield from _paths(given.get("path"))
    elif isinstance(given, list):
        for item in given:
            yield from _paths(item)


def _patterns(paths: Iterable[str]) -> Iterator[str]:
    """What to fetch so that these paths, which may be globs or folders, are there: files with rows, and no others.

    >>> list(_patterns(["a/train.csv"])), list(_patterns(["data/train-*"]))[:3:2]
    (['a/train.csv'], ['data/train-*.parquet', 'data/train-*.parquet.gz'])
    """
    for path in paths:
        anywhere = path.replace("**/", "*")
        if path.endswith(ROWS):
            yield anywhere
        else:
            yield from (f"{anywhere}{between}{kind}" for kind in ROWS for between in ("", "/*"))


def _builder(folder: Path, chosen: Chosen) -> DatasetBuilder:
    from datasets import load_dataset_builder  # half a second that other streams need not wait

    where = str(cache() / "arrow")
    builder = load_dataset_builder(str(folder), chosen.name, data_dir=chosen.folder, cache_dir=where)
    reader, options = type(builder).__module__.rpartition(".")[2], cast("Any", builder.config)
    if reader not in READERS:
        raise DataError(f"its files are of the kind {reader}; this stream reads those that end in {', '.join(ROWS)}")
    if reader == "csv":
        options.keep_default_na = False  # NA and None are words
    if reader == "parquet":
        _by_groups(builder)
    return builder


def _by_groups(builder: Any) -> None:
    """Makes the reader of Parquet read a row group at a time: Arrow alone reads ahead, up to a gigabyte of rows.

    As ``datasets`` itself reads shards; a version that has no such parts reads ahead.
    """
    parts, read = getattr(builder, "_generate_more_gen_kwargs", None), builder._generate_tables
    if parts is not None:
        builder._generate_tables = lambda **files: (table for part in parts(**files) for table in read(**part))


def _require_whole(pin: Pin, files: Iterable[str]) -> None:
    """Raises DataError where a part of train-00000-of-00003.parquet is missing: fewer rows would be other data."""
    parts: dict[tuple[str, int], set[int]] = defaultdict(set)
    for file in files:
        if found := re.search(r"(.*)-(\d{5})-of-(\d{5})", file):
            parts[found[1], int(found[3])].add(int(found[2]))
    for (name, count), there in parts.items():
        if lost := sorted(set(range(count)) - there):
            raise DataError(f"{pin}: of the {count} files {Path(name).name}-…, number {lost[0]} is missing; fetch all")


def _require_one(pin: Pin, folders: Iterable[str]) -> None:
    """Raises DataError for rows in several folders that are no splits: without a card, each is a configuration."""
    named = sorted(name for name in folders if not re.search("train|test|val|dev|eval", name))
    if len(named) > 1:
        raise DataError(f"{pin} has rows in several folders; give config=, one of: {', '.join(named)}")


def _content(folder: Path, files: Iterable[str], chosen: Chosen) -> str:
    """A key by which to keep what is made of these files.

    ``datasets`` keeps it by the folder's name and what the card says: files that are other ones would not be noticed.
    """
    facts = []
    for file in [*(str(folder / card) for card in CARDS if (folder / card).is_file()), *files]:
        with open(file, "rb") as opened:
            facts.append([str(Path(file).relative_to(folder)), hashlib.file_digest(opened, "sha256").hexdigest()])
    return sha256(canonical([facts, folder.name, chosen.name, chosen.folder, version("datasets")]))[:32]


@contextmanager
def _said(pin: Pin, folder: Path) -> Iterator[None]:
    """Without the bars of ``datasets``, and with its errors in our words."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    except ContinualError as error:
        raise DataError(f"{pin}: {error}" if pin.repo not in str(error) else str(error)) from None
    except Exception as error:  # datasets raises dozens of unrelated kinds: of files, of Arrow, of pandas
        kind = type(error).__name__
        cause = error.__cause__ if kind.startswith("DatasetGeneration") and error.__cause__ else error
        first = (str(cause).strip().splitlines() or [""])[0]
        said = f"{type(cause).__name__}: {first:.300}"
        why = next((advice for start, advice in ADVICE.items() if said.startswith(start)), None)
        raise DataError(f"{pin} in {folder}: {why or f'{said}; mend the files, or name another revision'}") from error
    finally:
        if shown:
            datasets.enable_progress_bars()
