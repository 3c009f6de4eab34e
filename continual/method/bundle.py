"""Several methods as one module."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Literal

from continual import folder
from continual.errors import ContinualError
from continual.files import canonical
from continual.method.base import Bundled, Described, Spread


@dataclass(frozen=True)
class Bundle:
    """Each of ``methods`` acts at its own sites, all are trained together and stored as one module.

    MAM (He et al. 2022) is a prefix with a parallel adapter; UniPELT's three (Mao et al. 2022) are bottleneck, prefix
    and LoRA, without its gates: those are a composition. ``methods`` names each method with its arguments.
    """

    methods: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"bottleneck": {}, "prefix": {"length": 10}, "lora": {"rank": 8}}, hash=False
    )

    lr: ClassVar[float] = 1e-3
    layers: ClassVar[str | None] = None
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "x"

    def __post_init__(self) -> None:
        if not self.methods:
            raise ContinualError("method.methods is empty; name at least one: 'method.methods={lora: {rank: 4}}'")
        if any(isinstance(part, Bundled) for part in self.parts.values()):
            raise ContinualError("method.methods cannot have a bundle in a bundle; name its methods themselves")

    @cached_property
    def parts(self) -> Mapping[str, Described]:
        return {name: _made(name, values or {}) for name, values in self.methods.items()}

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(target for part in self.parts.values() for target in part.targets))

    @property
    def dropout(self) -> float:
        return max(part.dropout for part in self.parts.values())

    @property
    def settled(self) -> Bundle:
        """With each part as it is stored."""
        kept = [part.settled if isinstance(part, Spread) else part for part in self.parts.values()]
        return Bundle({folder.name_of("continual.method", part): folder.arguments(part) for part in kept})

    def path(self) -> Hashable:
        return ("bundle", canonical({name: dict(values or {}) for name, values in self.methods.items()}))


def _made(name: str, values: Mapping[str, Any]) -> Described:
    kind = folder.component("continual.method", name)
    known = {one.name for one in fields(kind)}
    if extra := set(values) - known:
        raise ContinualError(f"method.methods.{name} does not take {sorted(extra)}; it takes {sorted(known)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
