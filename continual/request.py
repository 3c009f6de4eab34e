"""What a run asks a learner for, and what it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from continual.adapter import Adapter
from continual.composition.base import Composition
from continual.errors import ContinualError
from continual.head.base import Head
from continual.method.base import Params, WeightMethod
from continual.score.base import Score
from continual.strategy.base import Memory, Stage, Strategy
from continual.stream.units import Encoded


@dataclass(frozen=True)
class Recipe:
    """How a member is trained: AdamW, linear warm-up over a share of the steps, linear decay to zero.

    lr        None: the learning rate that the method (or composition) names
    clip      largest norm of a member's gradient; None: no clipping
    patience  None: train all epochs, keep the last state. n: validate after each epoch, stop after n epochs without
              a better score, keep the best state
    """

    lr: float | None = None
    epochs: int = 3
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float | None = 1.0
    patience: int | None = None

    def __post_init__(self) -> None:
        for key, value, good, wanted in (
            ("optimizer.lr", self.lr, self.lr is None or 0 < self.lr < float("inf"), "above 0"),
            ("trainer.epochs", self.epochs, self.epochs >= 1, "at least 1"),
            ("trainer.batch_size", self.batch_size, self.batch_size >= 1, "at least 1"),
            ("optimizer.warmup", self.warmup, 0 <= self.warmup <= 1, "a share of the steps, 0 to 1"),
            ("optimizer.weight_decay", self.weight_decay, 0 <= self.weight_decay < float("inf"), "at least 0"),
            ("optimizer.clip", self.clip, self.clip is None or self.clip > 0, "above 0, or null for no clipping"),
            ("trainer.patience", self.patience, self.patience is None or self.patience >= 1, "at least 1, or null"),
        ):
            if not good:
                raise ContinualError(f"{key} must be {wanted}, got {value}")


@dataclass(frozen=True)
class Learn:
    """A request: learn this. Either one new adapter (``composition`` None), or a mixer over frozen ones.

    stage   of the stream, where the strategy has its say; None: a reference or a composition, which it does not concern
    losses  the file for those of its training (``curve.py``); None: nobody asks for them
    """

    name: str
    adapters: tuple[Adapter, ...] = field(repr=False)
    head: Head
    head_params: Params = field(repr=False)
    train: Encoded = field(repr=False)
    valid: Encoded = field(repr=False)
    score: Score
    labels: tuple[str, ...]
    recipe: Recipe
    lr: float
    seed: int
    strategy: Strategy = field(default_factory=Strategy, repr=False)
    stage: Stage | None = field(default=None, repr=False)
    composition: Composition | None = None
    losses: Path | None = None

    @property
    def alone(self) -> bool:
        """Whether nothing else can be learned beside it: a mixer is over all that is loaded, and changed weights of the
        encoder are one module's."""
        return self.composition is not None or isinstance(self.adapters[0].method, WeightMethod)


@dataclass(frozen=True)
class Learned:
    """The answer. ``mixers`` are a composition's tensors by "<layer>/<site>/<param>"; empty for a plain adapter.

    padding   tokens of the training's batches, over those of its texts
    memory    what the strategy must know at the next task
    diverged  why there is nothing to keep · cut_short  why training ended early, with an earlier best state kept
    """

    adapter: Adapter
    head_params: Params
    mixers: dict[str, Tensor]
    valid_score: float
    steps: int
    seconds: float
    trainable: int
    diverged: str = ""
    cut_short: str = ""
    padding: float = 1.0
    memory: Memory = field(default_factory=dict, repr=False)
