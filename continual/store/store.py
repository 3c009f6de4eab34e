"""Modules on disk: content-addressed, immutable, named by versions. safetensors and JSON, never pickle.

objects/<digest>/  adapter.safetensors  head.safetensors  card.json
names/<name>/<version>   a file that holds a digest, created exclusively: no lock is needed
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from continual.adapter import tensors_digest
from continual.errors import ContinualError, CorruptError
from continual.files import sync_folder, write_synced
from continual.store.card import NAME, Card

DIGEST = r"[0-9a-f]{64}"
FILES = ("adapter.safetensors", "head.safetensors")


@dataclass(frozen=True)
class Entry:
    """One stored module. ``tensors`` are the adapter's, or the mixers', by "<layer>/<site>/<param>"."""

    card: Card
    tensors: dict[str, Tensor] = field(repr=False)
    head: dict[str, Tensor] = field(repr=False)

    @property
    def digest(self) -> str:
        return self.card.digest


class Store:
    """A folder of modules. Reading verifies every byte; writing is all or nothing."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def put(self, name: str, card: Card, tensors: dict[str, Tensor], head: dict[str, Tensor]) -> tuple[str, int]:
        """Store a module under the next version of ``name``; returns (digest, version).

        The same content is stored once: a second ``put`` only adds a name, and not even that where the newest
        version of the name already is this content.

        Raises ContinualError for a malformed name, tensors that are not finite, or a folder that cannot be written to.
        """
        _check_name(name)
        for key, tensor in [*tensors.items(), *head.items()]:
            if not bool(torch.isfinite(tensor).all()):
                raise ContinualError(f"{name}: tensor {key} has NaN or infinite values; nothing was stored")
        card = card.model_copy(update={"tensors": dict(zip(FILES, map(tensors_digest, (tensors, head)), strict=True))})
        try:
            self._write(card, tensors, head)
            return card.digest, self._name(name, card.digest)
        except OSError as error:
            raise ContinualError(
                f"cannot write to the store {self.root} ({error.strerror}); {name} has no new version"
            ) from error

    def get(self, reference: str) -> Entry:
        """By digest, by ``name`` (its newest version) or by ``name/version``.

        Raises ContinualError for an unknown reference, CorruptError for a file that is not what the digest says.
        """
        digest = self.resolve(reference)
        folder = self.root / "objects" / digest
        card = self._card(folder, digest)
        found = [self._tensors(folder / file, card.tensors.get(file, "")) for file in FILES]
        return Entry(card, found[0], found[1])

    def unverified(self, digest: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The tensors of an object as they lie there, to see where it is damaged; none of an unreadable file."""
        found: list[dict[str, Tensor]] = []
        for file in FILES:
            try:
                found.append(load_tensors((self.root / "objects" / digest / file).read_bytes()))
            except (OSError, SafetensorError, ValueError):
                found.append({})
        return found[0], found[1]

    def size(self, digest: str) -> int:
        """Bytes of an object on disk, card included."""
        return sum((self.root / "objects" / digest / file).stat().st_size for file in (*FILES, "card.json"))

    def resolve(self, reference: str) -> str:
        """The digest that a digest, ``name`` (its newest version) or ``name/version`` means.

        Raises ContinualError where the store has none such, saying what it has.
        """
        if re.fullmatch(DIGEST, reference):
            if not (self.root / "objects" / reference).is_dir():
                raise ContinualError(f"the store {self.root} has no object {reference[:12]}…")
            return reference
        name, _, version = reference.partition("/")
        _check_name(name)
        versions = self.versions(name)
        if not versions:
            raise ContinualError(
                f"the store {self.root} has no {name!r}; it has: {', '.join(self.names()) or 'nothing'}"
            )
        if version and version not in {str(v) for v in versions}:
            raise ContinualError(f"{name} has no version {version!r}; it has {versions}")
        return self._digest_of(name, int(version) if version else versions[-1])

    def names(self) -> list[str]:
        folder = self.root / "names"
        return sorted(p.name for p in folder.iterdir() if self.versions(p.name)) if folder.is_dir() else []

    def versions(self, name: str) -> list[int]:
        folder = self.root / "names" / name
        return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []

    def verify(self) -> Iterator[tuple[str, str]]:
        """(reference, what is wrong) for each named version that cannot be read back exactly."""
        for name in self.names():
            for version in self.versions(name):
                try:
                    self.get(f"{name}/{version}")
                except ContinualError as error:
                    yield f"{name}/{version}", str(error)

    def _write(self, card: Card, tensors: dict[str, Tensor], head: dict[str, Tensor]) -> None:
        objects = self.root / "objects"
        objects.mkdir(parents=True, exist_ok=True)
        target = objects / card.digest
        if target.is_dir():
            try:
                self.get(card.digest)
                return
            except CorruptError:
                shutil.rmtree(target)  # the same content is at hand: the damaged copy is replaced
        temp = Path(tempfile.mkdtemp(dir=objects, prefix=".new-"))
        try:
            for file, content in zip(FILES, (tensors, head), strict=True):
                write_synced(temp / file, save_tensors({k: t.contiguous() for k, t in content.items()}))
            text = json.dumps({"digest": card.digest, **card.model_dump(mode="json")}, indent=1, ensure_ascii=False)
            write_synced(temp / "card.json", text.encode("utf-8"))
            sync_folder(temp)
            temp.chmod(0o755)
            os.rename(temp, target)
        except OSError:
            if not target.is_dir():  # else another process was faster, with the same content
                raise
        finally:
            shutil.rmtree(temp, ignore_errors=True)
        sync_folder(objects)

    def _name(self, name: str, digest: str) -> int:
        folder = self.root / "names" / name
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            versions = self.versions(name)
            if versions and self._digest_of(name, versions[-1]) == digest:
                return versions[-1]
            version = versions[-1] + 1 if versions else 1
            # Linking a complete file is atomic and fails if the version exists: whoever loses takes the next one.
            handle, temp = tempfile.mkstemp(dir=folder, prefix=".new-")
            os.fchmod(handle, 0o644)  # whoever may read the objects may read their names
            with os.fdopen(handle, "w") as file:
                file.write(digest + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temp, folder / str(version))
                sync_folder(folder)
                return version
            except FileExistsError:
                continue
            finally:
                os.unlink(temp)

    def _digest_of(self, name: str, version: int) -> str:
        path = self.root / "names" / name / str(version)
        digest = path.read_text(encoding="utf-8", errors="replace").strip()
        if not re.fullmatch(DIGEST, digest):
            raise CorruptError(f"{path} does not hold a digest; restore it from a backup or delete it")
        return digest

    def _card(self, folder: Path, digest: str) -> Card:
        path = folder / "card.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            facts.pop("digest")
            card = Card.model_validate(facts)
        except (OSError, ValueError, KeyError, AttributeError, ValidationError) as error:
            raise CorruptError(f"{path} cannot be read: {error}") from error
        if card.digest != digest:
            raise CorruptError(f"{path}: expected digest {digest[:12]}…, its content has {card.digest[:12]}…")
        return card

    def _tensors(self, path: Path, expected: str) -> dict[str, Tensor]:
        try:
            tensors = load_tensors(path.read_bytes())
        except (OSError, SafetensorError, ValueError) as error:
            raise CorruptError(f"{path} cannot be read: {error}") from error
        if tensors_digest(tensors) != expected:
            raise CorruptError(f"{path}: its tensors are not those the card was written for; restore it from a backup")
        for key, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise CorruptError(f"{path}: tensor {key} has NaN or infinite values")
        return tensors


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME, name) or re.fullmatch(DIGEST, name):
        raise ContinualError(
            f"store name {name!r} must be 1 to 64 of a-z 0-9 . _ -, start with a letter or digit, and not be a digest"
        )
