"""UniPELT: several methods as one module, each behind a gate of its own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from continual import folder
from continual.errors import ContinualError
from continual.method.base import AttentionMethod, Bundled, Described, PromptMethod, Spread


@dataclass(frozen=True)
class GatedBundle:
    """A bundle of gated parts: g, the mean over tokens of σ(w · h_t + b), multiplies each (Mao et al. 2022, §3.2).

    One number per text, layer and part: a bottleneck's and LoRA's delta becomes g · delta, LoRA's at query and value
    with a gate each; a prefix's keys and values become g · P_K and g · P_V. h is what the part reads: a bottleneck's
    input, the states that enter the linear, or the attention. ``shared`` false gives keys and values a gate each;
    ``ungated`` names the parts that have none. All are trained together, from w in N(0, 0.02) and b = 0: g near 1/2.

    g stands where LoRA has alpha/rank: where no alpha is given it is the rank, so that LoRA adds g · B A x, as
    published. One that is given counts; `adapters` ignores it. The mean leaves padding out (``continual/gate.py``).
    g = 0 of a prefix is not "no prefix", here as there: keys of zero still take their share of the softmax.

    Raises ContinualError as a bundle does, and for ``ungated`` parts that are not there or all, and a gated prompt.
    """

    methods: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {
            "bottleneck": {"reduction_factor": 16.0},
            "prefix": {"length": 10},
            "lora": {"rank": 8},
        },
        hash=False,
    )
    ungated: tuple[str, ...] = ()
    shared: bool = True

    lr: ClassVar[float] = 3e-3
    layers: ClassVar[str | None] = None
    fixed: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["x", "y"]] = "x"

    def __post_init__(self) -> None:
        if unknown := [name for name in self.ungated if name not in self.parts]:
            raise ContinualError(f"method.ungated has {unknown[0]!r}; the bundle's parts are: {', '.join(self.parts)}")
        if not self.gates:
            raise ContinualError("method.ungated names every part; without any gate it is method=bundle")
        for name in self.gates:
            if isinstance(self.parts[name], PromptMethod):
                raise ContinualError(
                    f"method.methods.{name} stands before the text, where no gate can read: method.ungated=[{name}]"
                )

    @cached_property
    def bundle(self) -> Bundled:
        """The same without gates, with the alpha that LoRA has here."""
        kind = folder.component("continual.method", "bundle")
        plain, given = kind(self.methods), self.methods.get("lora") or {}
        if "lora" not in self.methods or "lora" in self.ungated or "alpha" in given:
            return plain
        return kind({**self.methods, "lora": {**given, "alpha": float(plain.parts["lora"].rank)}})

    @property
    def parts(self) -> Mapping[str, Described]:
        return self.bundle.parts

    @cached_property
    def gates(self) -> Mapping[str, int]:
        return {
            name: 1 if self.shared or not isinstance(part, AttentionMethod | Spread) else 2
            for name, part in self.parts.items()
            if name not in self.ungated
        }

    @property
    def targets(self) -> tuple[str, ...]:
        return self.bundle.targets

    @property
    def dropout(self) -> float:
        return self.bundle.dropout

    @property
    def settled(self) -> GatedBundle:
        kept = folder.arguments(self.bundle.settled)["methods"]
        names = dict(zip(self.parts, kept, strict=True))
        return GatedBundle(kept, tuple(names[name] for name in self.ungated), self.shared)

    def path(self) -> Hashable:
        return ("unipelt", self.bundle.path(), self.ungated, self.shared)
