"""Modules at other places: a repository of the Hugging Face Hub, or a folder. Both are laid out as a store."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from continual import assets
from continual.errors import ContinualError, CorruptError
from continual.exchange import page
from continual.exchange.source import read_json
from continual.files import write_json
from continual.secret import SHORTEST, VARIABLE
from continual.store import Store
from continual.store.store import DIGEST, FILES

INDEX = "continual.json"
REPOSITORY = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
PATTERNS = ("*.json", "*.safetensors")


def push(store: Store, reference: str, target: str, *, private: bool = True, api: Any = None) -> str:
    """A module, and those that it composes, to a folder or a repository of the Hub; returns where it is now.

    ``objects/<digest>/`` as in a store, ``continual.json`` with their names, and ``README.md``, a model card in which
    the license is left to you. A repository that is not there is made, private unless told otherwise. ``api`` stands in
    for ``huggingface_hub.HfApi()``, which finds the token by itself.

    Raises ContinualError for an unknown module, a target that is neither, or what the Hub says.
    """
    digests = _family(store, store.resolve(reference))
    names = {digest: _name(store, digest, reference) for digest in digests}
    with tempfile.TemporaryDirectory(prefix="continual-push-") as temp:
        stage = Path(temp)
        for digest in digests:
            _stage(store, digest, stage / "objects" / digest)
        modules = [{"name": names[digest], "digest": digest} for digest in digests]
        write_json(stage / INDEX, {"schema": 1, "modules": modules})
        text = page.of_store(store.get(digests[-1]), names[digests[-1]], _source(target))
        (stage / "README.md").write_text(text, encoding="utf-8")
        if _is_folder(target):
            return _copy(stage, Path(target).expanduser())
        return _upload(stage, target, names[digests[-1]], private, api)


def pull(
    store: Store, source: str, revision: str | None = None, name: str | None = None, mirror: str | None = None
) -> list[tuple[str, str, int]]:
    """What ``push`` wrote, into a store: (name, digest, version) of each module, the one that was pushed last.

    ``revision`` pins a commit, tag or branch of the repository; ``name`` is that of the pushed module here. Every
    object is held against its digest before it is stored.

    Raises ContinualError for a source without modules, CorruptError for an object that is not what its digest says.
    """
    folder = Path(source).expanduser() if _is_folder(source) else _download(source, revision, mirror)
    modules = read_json(folder / INDEX).get("modules")
    if not isinstance(modules, list) or not modules or not all(_is_module(module) for module in modules):
        raise ContinualError(f"{folder / INDEX}: expected modules, each with a name and a digest")
    if name is not None:
        modules[-1]["name"] = name
    there = Store(folder)
    entries = [there.get(module["digest"]) for module in modules]
    known = {entry.digest for entry in entries}
    for entry in entries:
        if lost := [parent for parent in entry.card.parents if parent not in known]:
            raise CorruptError(f"{folder}: {entry.digest[:12]}… composes {lost[0][:12]}…, which is not there")
    kept = []
    for module, entry in zip(modules, entries, strict=True):
        digest, version = store.put(module["name"], entry.card, entry.tensors, entry.head)
        kept.append((module["name"], digest, version))
    return kept


def _stage(store: Store, digest: str, target: Path) -> None:
    """A copy of an object that is not damaged. Its digest is of the encoder's fingerprint, not of the folder's name."""
    store.get(digest)
    source = store.root / "objects" / digest
    target.mkdir(parents=True)
    for file in FILES:
        shutil.copyfile(source / file, target / file)
    card = read_json(source / "card.json")
    card["encoder"]["name"] = page.shown(card["encoder"]["name"])
    write_json(target / "card.json", card)


def _family(store: Store, digest: str) -> list[str]:
    """The module's digest, behind those of what it composes."""
    parents = [one for parent in store.get(digest).card.parents for one in _family(store, parent)]
    return [*dict.fromkeys(parents), digest]


def _name(store: Store, digest: str, reference: str) -> str:
    own = reference.partition("/")[0]
    if not re.fullmatch(DIGEST, own) and store.resolve(reference) == digest:
        return own
    for name in store.names():
        if digest in {store.resolve(f"{name}/{version}") for version in store.versions(name)}:
            return name
    return f"module-{digest[:12]}"


def _is_module(module: object) -> bool:
    return (
        isinstance(module, dict)
        and isinstance(module.get("name"), str)
        and isinstance(digest := module.get("digest"), str)
        and re.fullmatch(DIGEST, digest) is not None
    )


def _is_folder(place: str) -> bool:
    """A path, or a repository's name? Raises ContinualError for neither."""
    if place.startswith((".", "/", "~")) or Path(place).is_dir():
        return True
    if not re.fullmatch(REPOSITORY, place):
        raise ContinualError(f"{place!r} is neither a folder (./name) nor a repository of the Hub (owner/name)")
    return False


def _source(target: str) -> str:
    """What the page tells others to pull: a folder's own name says nothing of where it was made."""
    return f"./{Path(target).name}" if _is_folder(target) else target


def _copy(stage: Path, target: Path) -> str:
    if target.is_dir() and any(target.iterdir()) and not (target / INDEX).is_file():
        raise ContinualError(f"{target} holds other files; give a new folder, or one that was pushed to before")
    try:
        shutil.copytree(stage, target, dirs_exist_ok=True)
    except OSError as error:
        raise ContinualError(f"cannot write to {target} ({error.strerror or 'some files were not copied'})") from error
    return str(target)


def _upload(stage: Path, repo_id: str, name: str, private: bool, api: Any) -> str:
    if reason := assets.offline():
        raise ContinualError(f"cannot push to {repo_id}: {reason}; unset it, or push to a folder")
    from huggingface_hub import HfApi  # half a second that most commands need not wait

    hub = api if api is not None else HfApi()
    try:
        hub.create_repo(repo_id, private=private, exist_ok=True)
        commit = hub.upload_folder(repo_id=repo_id, folder_path=str(stage), commit_message=f"continual: {name}")
    except Exception as error:  # the Hub client raises a dozen unrelated kinds: network, HTTP, validation
        said = str(error).strip().splitlines()
        raise ContinualError(
            f"cannot push to {repo_id} ({type(error).__name__}: {masked(said[0]) if said else ''}); "
            "log in with: hf auth login"
        ) from None  # the cause may hold the request's headers
    return f"{repo_id}@{getattr(commit, 'oid', 'main')}"


def _download(repo_id: str, revision: str | None, mirror: str | None) -> Path:
    try:
        return assets.hub_folder(repo_id, revision, PATTERNS, mirror)
    except ContinualError as error:
        raise ContinualError(masked(str(error))) from None


def masked(text: str) -> str:
    """Without what looks like a token of the Hub, or is the value of a variable that names a secret."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and VARIABLE.search(name):
            text = text.replace(value, "***")
    return re.sub(r"\bhf_[A-Za-z0-9]{8,}", "hf_***", text)
