"""Several methods as one module."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from continual import folder
from continual.errors import ContinualError
from continual.files import canonical
from continual.method.base import Bundled, Described, Spread, WeightMethod
from continual.typed import call, mistyped, tuples, under


@dataclass(frozen=True)
class Bundle:
    """Each of ``methods`` acts at its own sites, all are trained together and stored as one module.

    MAM (He et al. 2022) is a prefix with a parallel adapter; UniPELT's three (Mao et al. 2022) are bottleneck, prefix
    and LoRA, here without its gates (``unipelt`` has them). ``methods`` names each method with its arguments.

    Raises ContinualError for an argument that a method does not take, a part that acts on no site, and two parts that
    would be stored under one name (``prefix_mlp`` becomes a ``prefix``).
    """

    methods: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {
            "bottleneck": {"reduction_factor": 16.0},
            "prefix": {"length": 10},
            "lora": {"rank": 8},
        },
        hash=False,
    )

    lr: ClassVar[float] = 3e-3
    layers: ClassVar[str | None] = None
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "x"

    def __post_init__(self) -> None:
        if not self.methods:
            raise ContinualError("method.methods is empty; name at least one: +method.methods.lora={}")
        for name, part in self.parts.items():
            if isinstance(part, Bundled):
                raise ContinualError("method.methods cannot have a bundle in a bundle; name its methods themselves")
            if not part.targets and not isinstance(part, WeightMethod):
                raise ContinualError(f"method.methods.{name} acts on no site; take it away: ~method.methods.{name}")
        stored = [folder.name_of("continual.method", part) for part in self._settled]
        if twice := {name for name in stored if stored.count(name) > 1}:
            odd = [name for name, kept in zip(self.parts, stored, strict=True) if kept in twice]
            raise ContinualError(f"method.methods has {' and '.join(odd)}, stored under one name; keep one of them")

    @cached_property
    def parts(self) -> Mapping[str, Described]:
        return {name: _made(name, values) for name, values in self.methods.items()}

    @property
    def gates(self) -> Mapping[str, int]:
        return {}

    @property
    def _settled(self) -> list[Described]:
        return [part.settled if isinstance(part, Spread) else part for part in self.parts.values()]

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(target for part in self.parts.values() for target in part.targets))

    @property
    def dropout(self) -> float:
        return max(part.dropout for part in self.parts.values())

    @property
    def settled(self) -> Bundle:
        """With each part as it is stored."""
        return Bundle({folder.name_of("continual.method", part): folder.arguments(part) for part in self._settled})

    def path(self) -> Hashable:
        return ("bundle", canonical({name: dict(values or {}) for name, values in self.methods.items()}))


def _made(name: str, values: Mapping[str, Any] | None) -> Described:
    kind = folder.component("continual.method", name)
    path = f"method.methods.{name}"
    if wrong := mistyped(path, values, Mapping[str, Any] | None):
        raise ContinualError(wrong)
    return call(kind, under(path, tuples(dict(values or {}))))
