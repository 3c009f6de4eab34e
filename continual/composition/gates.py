"""UniPELT's gates over the modules of all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from continual.adapter import Adapter
from continual.composition.base import require_members
from continual.composition.unipelt import UniPELT
from continual.encoder.adapted import AdaptedEncoder


@dataclass(frozen=True)
class Gates:
    """The gates of ``unipelt``, one per module, text and site, over the stored modules of all tasks of the stream.

    delta = Σ_n g_n z_n (Mao et al. 2022, §3.2), with z_n of any tasks and methods: several bottlenecks, LoRAs of
    unequal rank, prefixes of unequal length. Unlike fusion's weights the gates of a text need not sum to one. Trains w
    and b of every module and site, and the target's head.
    """

    lr: float | None = 1e-3
    epochs: int | None = None

    sources: ClassVar[Literal["stream", "target"]] = "stream"

    @property
    def methods(self) -> tuple[str, ...]:
        """None beyond those of the stream."""
        return ()

    def install(self, model: AdaptedEncoder, adapters: Sequence[Adapter], seed: int) -> None:
        require_members("gates", adapters)
        UniPELT().install(model, adapters, seed)

    def penalty(self, model: AdaptedEncoder) -> Tensor | float:
        return 0.0
