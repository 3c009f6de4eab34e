"""Keeps secrets off the disk: what looks like one is refused before anything is written, and is never printed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from continual.errors import ContinualError

KEY = re.compile(r"(token|secret|passw(or)?d|api_?key|credentials?)$", re.IGNORECASE)
VARIABLE = re.compile(r"token|secret|passw|key|credential", re.IGNORECASE)
SHORTEST = 8  # shorter values of variables ("false") are in many texts


def refuse_arguments(arguments: Sequence[str]) -> None:
    """Of the command line, before Hydra sees them: of a sweep it writes the arguments to disk, even wrong ones."""
    for argument in arguments:
        key, equal, value = argument.partition("=")
        if equal:
            refuse(value, key.lstrip("+~"))


def refuse(value: Any, path: str = "") -> None:
    """Raises ContinualError for a key that names a secret and has a value, and for a value out of a secret variable."""
    if KEY.search(path) and value not in (None, "", "null"):
        raise ContinualError(
            f"{path} looks like a secret: give it in the environment (WANDB_API_KEY, HF_TOKEN); here it would be "
            "written to disk"
        )
    if isinstance(value, dict):
        for key, child in value.items():
            refuse(child, f"{path}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for child in value:
            refuse(child, path)
    elif isinstance(value, str):
        for name, held in os.environ.items():
            if len(held) >= SHORTEST and held in value and VARIABLE.search(name):
                raise ContinualError(f"{path} holds the value of {name} in the environment; leave it there")
