"""Records: one JSON file for one setting, one entry a row, written again after each entry."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from continual.files import write_json
from continual.parts import code_digest


class Book:
    """Entries that are there are kept, so a run that was stopped goes on; delete an entry to make it again."""

    def __init__(self, path: Path, setting: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: dict[str, Any] = self._written()
        self.setting = dict(setting)

    def put(self, name: str, entry: Mapping[str, Any]) -> None:
        made = machine()  # entries of one record may come from several machines: each names its own
        self.rows |= self._written()  # a run beside this one may have put its own
        self.rows[name] = {**entry, "code": code_digest(), "device": made["device"]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"schema": 1, "setting": self.setting, "machine": made, "rows": self.rows})

    def _written(self) -> dict[str, Any]:
        return json.loads(self.path.read_text(encoding="utf-8"))["rows"] if self.path.exists() else {}


def machine() -> dict[str, Any]:
    """What the numbers were measured on and with."""
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "versions": {name: _version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
