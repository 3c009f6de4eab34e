"""Everything a run is made of, as live objects: ``build.py`` makes them from a configuration, a notebook by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import continual
from continual import composition as compositions
from continual import folder, merging, method, references
from continual import router as routers
from continual.composition.base import Composition
from continual.composition.fusion import Fusion
from continual.composition.unipelt import UniPELT
from continual.encoder.frozen import Encoder
from continual.errors import ContinualError, unknown
from continual.evaluate import Evaluate
from continual.files import canonical, sha256
from continual.merging.base import Merging
from continual.method.base import Bundled, Described, Spread, WeightMethod
from continual.method.bottleneck import Bottleneck
from continual.outputs import Outputs
from continual.progress import Progress
from continual.pruning.base import Pruner
from continual.recalled import member
from continual.request import Recipe
from continual.router.base import Router
from continual.store import Store
from continual.store.card import NAME
from continual.strategy.base import Strategy
from continual.strategy.isolated import Isolated
from continual.stream.base import Image, Stream
from continual.trainer import Machine


@dataclass(frozen=True)
class Parts:
    """target  name of the task that compositions are learned for; None: the one with the fewest training rows
    sources  stored modules, by digest, name or name/version, that are composed and merged beside the stream's own
    prune    how learned compositions are made smaller afterwards; None: not at all
    router   for when the task of a row is not given; None: it always is
    references  other runs that some metrics compare with, which are made first: "single", "joint" (``references.py``)
    config   a configuration to keep in the record, for the reader; results do not depend on it
    """

    encoder: Encoder
    stream: Stream
    method: Described = field(default_factory=Bottleneck)
    strategy: Strategy = field(default_factory=Isolated)
    compositions: tuple[Composition, ...] = field(default_factory=lambda: (Fusion(), UniPELT()))
    mergings: tuple[Merging, ...] = ()
    sources: tuple[str, ...] = ()
    prune: Pruner | None = None
    router: Router | None = None
    references: tuple[str, ...] = ()
    recipe: Recipe = field(default_factory=Recipe)
    evaluate: Evaluate = field(default_factory=Evaluate)
    machine: Machine = field(default_factory=Machine)
    seed: int = 0
    target: str | None = None
    runs: Path = Path("runs")
    store: Path = Path("store")
    progress: Progress = field(default_factory=Progress)
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.stream.name):
            raise ContinualError(
                f"stream name {self.stream.name!r} cannot name modules: expected 1 to 64 of a-z 0-9 . _ - "
                "that begin with a letter or digit"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ContinualError(f"seed must be a whole number, got {self.seed!r}")
        if self.target is not None and self.target not in [task.name for task in self.stream.tasks]:
            raise unknown("target", self.target, [task.name for task in self.stream.tasks])
        if self.machine.gradient_checkpointing and isinstance(self.method, WeightMethod):
            raise ContinualError(
                "trainer.gradient_checkpointing=true computes layers again with the encoder's own weights, and "
                f"method={method.name_of(self.method)} changes them; set it to false"
            )
        self.strategy.check(self.method)
        _ = self.outputs  # a stream that one head cannot answer is refused now
        self._check_reading()
        self._check_compositions()
        references.check(self)

    @cached_property
    def outputs(self) -> Outputs | None:
        """Of the one head, where the strategy has one, or a shared module cannot know of which task a row is."""
        strategy, scenario = self.strategy, self.stream.scenario
        if not (strategy.one_head or (strategy.shared and scenario != "task")):
            return None
        return Outputs(self.stream.tasks, scenario, strategy.heads)

    def _check_reading(self) -> None:
        image = self.encoder.arch.image
        for task in self.stream.tasks:
            if len(task.train) and isinstance(task.train[0].text, Image) != image:
                reads, has, other = ("images", "texts", "a text") if image else ("texts", "images", "an image")
                raise ContinualError(
                    f"task {task.name!r} has {has}, and the encoder {self.encoder.name} reads {reads}; "
                    f"choose {other} encoder, or tasks of {reads}"
                )

    def _check_compositions(self) -> None:
        """What would else be found only after the stream is learned."""
        kinds = [compositions.name_of(composition) for composition in self.compositions]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ContinualError(f"composition {', '.join(twice)} is given twice; give each once, or make two runs")
        for kind, composition in zip(kinds, self.compositions, strict=True):
            self.recipe_for(composition)
            for name in composition.methods:
                method.named(name, {})
            if composition.lr is not None and not 0 < composition.lr < float("inf"):
                raise ContinualError(f"composition.{kind}.lr must be above 0, got {composition.lr}")
        rules = [merging.name_of(rule) for rule in self.mergings]
        if twice := sorted({name for name in rules if rules.count(name) > 1}):
            raise ContinualError(f"merging {', '.join(twice)} is given twice; give each once, or make two runs")
        if self.prune is not None and not any(hasattr(composition, "kept") for composition in self.compositions):
            raise ContinualError(
                "prune makes a learned fusion smaller, and this run learns none: add composition=fusion, or prune=null"
            )
        if double := sorted({reference for reference in self.sources if self.sources.count(reference) > 1}):
            raise ContinualError(f"sources has {', '.join(double)} twice; name each stored module once")

    @cached_property
    def choices(self) -> dict[str, Any]:
        """All that the result depends on, as plain values: two runs with equal choices are the same run."""
        return {
            "encoder": self.encoder.fingerprint,
            "reading": self.encoder.reading,
            "max_length": self.encoder.max_length,
            "pooling": self.encoder.pooling,
            "stream": self.stream.digest,
            "method": [method.name_of(self.method), folder.arguments(self.method)],
            "strategy": [self.strategy_name, folder.arguments(self.strategy)],
            "router": None if self.router is None else [routers.name_of(self.router), folder.arguments(self.router)],
            "compositions": [[compositions.name_of(c), folder.arguments(c)] for c in self.compositions],
            "mergings": [[merging.name_of(rule), folder.arguments(rule)] for rule in self.mergings],
            "sources": list(self.source_digests),
            "references": sorted(self.references),
            "prune": self.prune and [folder.name_of("continual.pruning", self.prune), folder.arguments(self.prune)],
            "recipe": folder.arguments(self.recipe),
            "evaluate": folder.arguments(self.evaluate),
            "precision": self.machine.precision,
            "seed": self.seed,
            "target": self.target_index,
            "code": code_digest(),
        }

    @cached_property
    def run_id(self) -> str:
        return sha256(canonical(self.choices))[:16]

    @property
    def finished(self) -> bool:
        """Whether this run has come to its end: then it has its record."""
        return (Path(self.runs) / self.run_id / "run.json").exists()

    @cached_property
    def source_digests(self) -> tuple[str, ...]:
        """Of what ``sources`` names now. Raises ContinualError for what is not there, or cannot be composed."""
        store = Store(self.store)
        return tuple(member(store, reference, self.encoder).digest for reference in self.sources)

    @property
    def strategy_name(self) -> str:
        return folder.name_of("continual.strategy", self.strategy)

    @property
    def target_index(self) -> int:
        """The task that compositions are learned for."""
        tasks = self.stream.tasks
        if self.target is not None:
            return [task.name for task in tasks].index(self.target)
        return min(range(len(tasks)), key=lambda i: len(tasks[i].train))

    def recipe_for(self, composition: Composition | None) -> Recipe:
        """A composition may name its own number of epochs."""
        if composition is None or composition.epochs is None:
            return self.recipe
        return replace(self.recipe, epochs=composition.epochs)

    def rate_for(self, kind: Described, composition: Composition | None = None) -> float:
        """Learning rate: the composition's, else the recipe's for the run's own method, else what the method names."""
        if composition is not None and composition.lr is not None:
            return composition.lr
        settled = self.method.settled if isinstance(self.method, Spread | Bundled) else self.method
        if self.recipe.lr is not None and type(kind) in (type(self.method), type(settled)):
            return self.recipe.lr
        return kind.lr


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Over the source files that results depend on; how they are shown (report/, board/, logs/, live, progress) and
    called (command/, cli, overrides) is left out.

    So are conf/ and task_streams/, which only an installed package has inside: choices and data have their own digests.
    """
    root = Path(continual.__file__).parent
    left_out = {"report", "board", "command", "logs", "conf", "task_streams"}
    left_out |= {"cli.py", "ended.py", "progress.py", "live.py", "curve.py", "overrides.py"}
    files = {path.relative_to(root): path for path in sorted(root.rglob("*.py"))}
    chosen = {name: path for name, path in files.items() if name.parts[0] not in left_out}
    return sha256(*(part for name, path in chosen.items() for part in (name.as_posix().encode(), path.read_bytes())))
