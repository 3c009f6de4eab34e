"""Learn, store, compose and measure small modules on one frozen encoder.

The names below are the notebook's; each is imported when it is first used, so that ``import continual`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from continual.adapter import Adapter as Adapter
    from continual.adapter import fresh as fresh
    from continual.asked import ask as ask
    from continual.composition.average import Average as Average
    from continual.composition.fusion import Fusion as Fusion
    from continual.composition.gates import Gates as Gates
    from continual.composition.split import Split as Split
    from continual.composition.stack import Stack as Stack
    from continual.composition.unipelt import UniPELT as UniPELT
    from continual.drive import run_stream as run_stream
    from continual.encoder.adapted import AdaptedEncoder as AdaptedEncoder
    from continual.encoder.frozen import Encoder as Encoder
    from continual.encoder.load import load as load
    from continual.encoder.merge import merge as merge
    from continual.encoder.merge import merged as merged
    from continual.encoder.merge import unmerge as unmerge
    from continual.errors import ContinualError as ContinualError
    from continual.evaluate import Evaluate as Evaluate
    from continual.ledger import Ledger as Ledger
    from continual.merging.arithmetic import Arithmetic as Arithmetic
    from continual.merging.ties import Ties as Ties
    from continual.method.bitfit import BitFit as BitFit
    from continual.method.bottleneck import Bottleneck as Bottleneck
    from continual.method.bundle import Bundle as Bundle
    from continual.method.compacter import Compacter as Compacter
    from continual.method.full import Full as Full
    from continual.method.head import HeadOnly as HeadOnly
    from continual.method.ia3 import IA3 as IA3
    from continual.method.lora import LoRA as LoRA
    from continual.method.parallel import Parallel as Parallel
    from continual.method.prefix import Prefix as Prefix
    from continual.method.prefix_mlp import PrefixMLP as PrefixMLP
    from continual.method.prompt import Prompt as Prompt
    from continual.method.sparse import Sparse as Sparse
    from continual.method.unipelt import GatedBundle as GatedBundle
    from continual.parts import Parts as Parts
    from continual.recalled import recall as recall
    from continual.report.table import show as show
    from continual.request import Recipe as Recipe
    from continual.router.mixture import Mixture as Mixture
    from continual.store import Store as Store
    from continual.strategy.isolated import Isolated as Isolated
    from continual.strategy.sequential import Sequential as Sequential
    from continual.stream.base import Example as Example
    from continual.stream.base import Image as Image
    from continual.stream.base import Stream as Stream
    from continual.stream.base import Task as Task
    from continual.trainer import Machine as Machine

_HOME = {
    "AdaptedEncoder": "encoder.adapted",
    "Adapter": "adapter",
    "Arithmetic": "merging.arithmetic",
    "Average": "composition.average",
    "BitFit": "method.bitfit",
    "Bottleneck": "method.bottleneck",
    "Bundle": "method.bundle",
    "Compacter": "method.compacter",
    "ContinualError": "errors",
    "Encoder": "encoder.frozen",
    "Evaluate": "evaluate",
    "Example": "stream.base",
    "Full": "method.full",
    "Fusion": "composition.fusion",
    "GatedBundle": "method.unipelt",
    "Gates": "composition.gates",
    "HeadOnly": "method.head",
    "IA3": "method.ia3",
    "Image": "stream.base",
    "Isolated": "strategy.isolated",
    "Ledger": "ledger",
    "LoRA": "method.lora",
    "Machine": "trainer",
    "Mixture": "router.mixture",
    "Parallel": "method.parallel",
    "Parts": "parts",
    "Prefix": "method.prefix",
    "PrefixMLP": "method.prefix_mlp",
    "Prompt": "method.prompt",
    "Recipe": "request",
    "Sequential": "strategy.sequential",
    "Sparse": "method.sparse",
    "Split": "composition.split",
    "Stack": "composition.stack",
    "Store": "store",
    "Stream": "stream.base",
    "Task": "stream.base",
    "Ties": "merging.ties",
    "UniPELT": "composition.unipelt",
    "ask": "asked",
    "fresh": "adapter",
    "load": "encoder.load",
    "merge": "encoder.merge",
    "merged": "encoder.merge",
    "recall": "recalled",
    "run_stream": "drive",
    "show": "report.table",
    "unmerge": "encoder.merge",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'continual' has no attribute {name!r}")
    return getattr(import_module(f"continual.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
