"""Small repositories of data sets: as a mirror, as the Hub's cache, and behind a Hub that is not there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from huggingface_hub.utils import filter_repo_objects

REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
NAMES = ("no", "yes")


def columns(count: int, tag: str = "train", names: Sequence[str] = NAMES) -> dict[str, list]:
    """Texts of which no two are alike, and the numbers of their labels."""
    return {"text": [f"{tag} {i}" for i in range(count)], "label": [i % len(names) for i in range(count)]}


def parquet(path: Path, rows: dict[str, list], names: Sequence[str] | None = NAMES) -> Path:
    """A file as the Hub has it: with ``names``, its column label is a ClassLabel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(rows)
    if names is not None:
        table = table.cast_column("label", datasets.ClassLabel(names=list(names)))
    table.to_parquet(str(path))
    return path


def repository(root: Path, repo: str = "own/set", **counts: int) -> Path:
    """``root/own/set`` with a file of so many rows for each split."""
    for split, count in (counts or {"train": 20, "validation": 4, "test": 6}).items():
        parquet(root / repo / f"{split}-00000-of-00001.parquet", columns(count, split))
    return root / repo


def card(folder: Path, *configs: str, more: str = "") -> None:
    """A README.md that names configurations, each a folder with files by split."""
    files = "".join(
        f"  - config_name: {name}\n    data_files:\n"
        + "".join(
            f"      - split: {split}\n        path: {name}/{split}-*\n" for split in ("train", "validation", "test")
        )
        for name in configs
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{files}{more}---\n# A data set\n", encoding="utf-8")


def cached(folder: Path, hub: Path, repo: str = "own/set", revision: str = REVISION) -> Path:
    """The files of ``folder`` as the Hub's own cache holds those of a commit: blobs, and links to them."""
    root = hub / f"datasets--{repo.replace('/', '--')}"
    for number, file in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        blob, link = (
            root / "blobs" / f"{revision[:8]}{number:04}",
            root / "snapshots" / revision / file.relative_to(folder),
        )
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link.symlink_to(blob)
    return root


def served(monkeypatch: pytest.MonkeyPatch, remote: Path, local: Path, revision: str = REVISION) -> list[str]:
    """A Hub that serves ``remote/<repo>`` at one commit into ``local``; the list grows by what was fetched."""
    fetched: list[str] = []

    def snapshot_download(
        repo_id: str, *, repo_type: str, revision: str, allow_patterns: list[str], local_files_only: bool
    ) -> str:
        assert (repo_type, revision, local_files_only) == ("dataset", served_revision, False)
        if not (remote / repo_id).is_dir():
            raise FileNotFoundError("404 Client Error: Repository Not Found")
        files = [file.relative_to(remote / repo_id) for file in (remote / repo_id).rglob("*") if file.is_file()]
        for name in filter_repo_objects([file.as_posix() for file in files], allow_patterns=allow_patterns):
            (local / repo_id / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(remote / repo_id / name, local / repo_id / name)
            fetched.append(name)
        (local / repo_id).mkdir(parents=True, exist_ok=True)
        return str(local / repo_id)

    served_revision = revision
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return fetched


def alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches below ``root``, no mirror, and no bars; the Hub's cache is returned."""
    from huggingface_hub import constants

    monkeypatch.setenv("CONTINUAL_CACHE", str(root / "cache"))
    monkeypatch.delenv("CONTINUAL_DATA", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root / "hub"))
    quiet: Any = datasets.are_progress_bars_disabled()
    if not quiet:
        datasets.disable_progress_bars()
    return root / "hub"
