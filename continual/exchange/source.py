"""Folders of other libraries: read with suspicion, refused by name where they cannot be read faithfully."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from continual import gate
from continual.adapter import Adapter, flatten
from continual.errors import ContinualError
from continual.method.base import Params

LARGEST = 1 << 20
"""Bytes of a configuration, at most."""
LONGEST_INTEGER = 18
NO_HEAD = "none"
"""What a card says of the head of a module that came without one: no head has this name."""


@dataclass(frozen=True)
class Imported:
    """A module of another library as one of ours.

    library  "peft" or "adapterhub"; ``source`` is the configuration that lay beside the tensors
    head     tensors of the head ``head_name``; None where it came without one, or with one that we cannot compute
    notes    what was left behind, a sentence each
    """

    library: str
    source: Mapping[str, Any] = field(repr=False)
    adapter: Adapter
    head: Params | None = field(default=None, repr=False)
    head_name: str = NO_HEAD
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ContinualError for a file that is missing, too large or something else."""

    try:
        if path.stat().st_size > LARGEST:
            raise ContinualError(f"{path}: expected a configuration of at most {LARGEST} bytes")
        value = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_number, parse_int=_integer, parse_float=_number
        )
    except FileNotFoundError:
        raise ContinualError(f"{path} is missing; give the folder that the library saved") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ContinualError(f"{path}: expected JSON: {error}") from error
    if not isinstance(value, dict):
        raise ContinualError(f"{path}: expected a JSON object, got a {type(value).__name__}")
    return value


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text:.40} is not a number")
    return value


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"{text:.40}… is too large a number")
    return int(text)


def read_tensors(folder: Path, file: str, pickles: Iterable[str], way_out: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file as float32; a pickle is never read.

    Raises ContinualError for what is missing, no safetensors, not a number, or not finite.
    """
    path = folder / file
    if not path.is_file():
        if found := [name for name in pickles if (folder / name).exists()]:
            raise ContinualError(f"{folder / found[0]} is a pickle, which can run code and is never read; {way_out}")
        raise ContinualError(f"{path} is missing; give the folder that the library saved")
    try:
        tensors = load_tensors(path.read_bytes())
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ContinualError(f"{path}: expected safetensors: {error}") from error
    for key, tensor in sorted(tensors.items()):
        if not tensor.is_floating_point():
            raise ContinualError(f"{path}: tensor {key} is {tensor.dtype}; expected floating-point numbers")
        tensors[key] = tensor.to(torch.float32)
        if not bool(tensors[key].isfinite().all()):
            raise ContinualError(f"{path}: tensor {key} has NaN or infinite values")
    return dict(sorted(tensors.items()))


def require_finite(adapter: Adapter, where: str) -> None:
    """Raises ContinualError where a scale has made a tensor overflow."""
    for key, tensor in flatten(adapter.params).items():
        if not bool(tensor.isfinite().all()):
            raise ContinualError(f"{where}: what comes to {key} is not finite; is a scale far too large?")


class Config:
    """A configuration, asked for one key at a time: what is true in it and nobody asked for is refused by name."""

    def __init__(self, values: Mapping[str, Any], where: str, neutral: Iterable[str]) -> None:
        self.values, self.where = values, where
        self._known = set(neutral)

    def get(self, key: str, default: Any, *kinds: type) -> Any:
        """The value of a key. Raises ContinualError where it is of none of these kinds; True is not a number."""
        self._known.add(key)
        value = self.values.get(key)
        value = default if value is None else value
        wrong = kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds))
        if wrong and value is not default:
            named = " or ".join(kind.__name__ for kind in kinds)
            raise self.error(key, f"expected {named}, got {value!r:.60}")
        return value

    def only(self, key: str, allowed: Iterable[Any], why: str) -> None:
        """Raises ContinualError unless the value is one of those; a key that is missing or null is."""
        self._known.add(key)
        value = self.values.get(key)
        if value is not None and not any(value == one and isinstance(value, type(one)) for one in allowed):
            raise self.error(key, f"{value!r:.60} cannot be read: {why}")

    def close(self) -> None:
        """Raises ContinualError for a key that was not asked for and that is not empty, false or null."""
        for key, value in self.values.items():
            if key not in self._known and value not in (None, False, 0, "", [], {}):
                raise self.error(key, f"{value!r:.60} is not known to this release, so the module cannot be trusted")

    def error(self, key: str, why: str) -> ContinualError:
        """One that names the key."""
        return ContinualError(f"{self.where}: {key}: {why}")


def require_shape(key: str, tensor: Tensor, *size: int) -> Tensor:
    """Raises ContinualError for a tensor of another shape."""
    if tuple(tensor.shape) != size:
        raise ContinualError(f"tensor {key} has the shape {list(tensor.shape)}; expected {list(size)}")
    return tensor


def take(tensors: dict[str, Tensor], key: str, *size: int) -> Tensor:
    """Remove and give a tensor. Raises ContinualError where it is missing or has another shape."""
    if key not in tensors:
        raise ContinualError(f"tensor {key} is missing")
    return require_shape(key, tensors.pop(key), *size)


def take_gates(tensors: dict[str, Tensor], key: str, count: int, width: int) -> Params:
    """Remove and give a linear layer (width -> count) as gates. Raises ContinualError as ``take`` does."""
    return {gate.WEIGHT: take(tensors, f"{key}weight", count, width), gate.BIAS: take(tensors, f"{key}bias", count)}


def require_empty(tensors: Mapping[str, Tensor], why: str) -> None:
    """Raises ContinualError where tensors are left."""
    if tensors:
        raise ContinualError(f"{len(tensors)} tensors cannot be read, the first is {min(tensors)}: {why}")


def labels_of(value: object, count: int) -> tuple[str, ...]:
    """The names in a ``label2id``, by number; ``LABEL_0`` and so on where they are not known."""
    if isinstance(value, dict) and sorted(map(str, value.values())) == sorted(map(str, range(count))):
        return tuple(str(name) for name in sorted(value, key=lambda name: int(value[name])))
    return tuple(f"LABEL_{number}" for number in range(count))
