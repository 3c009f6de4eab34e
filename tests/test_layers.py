"""Imports go up only, and a few libraries are imported in one place only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import continual

ROOT = Path(continual.__file__).parent
LAYERS = [
    "errors files types blocks captured typed secret activation later adamw allocator curve",
    "folder assets method head metric score ledger stream store.card report moments routing gate uncertainty "
    "counterfactual outcomes",
    "adapter",
    "encoder store bank prune",
    "composition strategy held predict trunk parallel space information merging pruning router",
    "exchange recalled resumed task_inference within outputs memories",
    "request slots asked",
    "member choose even",
    "learner evaluate progress lanes logs locked",
    "steps",
    "trainer",
    "dealt",
    "parts references provenance session stages certificate closed summary compare compose readings route",
    "run orders",
    "drive",
    "build",
    "grouped",
    "sweep reopen overrides board ended live",
    "command",
    "cli",
    "__main__ __init__",
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer.split()}
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
LIGHT = [
    m for m in MODULES if m.startswith(("metric", "score", "report", "ledger")) or m in ("store.card", "stream.base")
]


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, inside functions too; what only type checkers import is left out."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            nodes += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        nodes += ast.iter_child_nodes(node)


def layer(name: str) -> int:
    """Of the longest known beginning of a dotted name: "store.card.Card" is of ``store.card``, not of ``store``."""
    parts = name.split(".")
    known = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next(RANK[beginning] for beginning in known if beginning in RANK)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_its_own_layer_or_lower_ones(module: str) -> None:
    lower = [name.removeprefix("continual.") for name in imports(MODULES[module]) if name.startswith("continual.")]
    odd = [name for name in lower if not name.startswith(("conf", "task_streams")) and layer(name) > layer(module)]
    assert odd == []


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("hydra.utils.instantiate", {"build"}),
        ("omegaconf", {"build", "command.run", "grouped", "ended", "overrides"}),
        ("transformers", {"encoder.frozen", "encoder.claim", "encoder.merge", "encoder.load", "encoder.attention"}),
        ("torch", set(MODULES) - set(LIGHT)),
        ("pickle", set()),
    ],
)
def test_a_library_is_imported_only_where_it_belongs(library: str, allowed: set[str]) -> None:
    found = {m for m, path in MODULES.items() for name in imports(path) if f"{name}.".startswith(f"{library}.")}
    assert found <= allowed


@pytest.mark.parametrize("folder", ["method", "head", "metric", "score"])
def test_components_of_a_folder_do_not_know_each_other(folder: str) -> None:
    for module, path in MODULES.items():
        if module.startswith(f"{folder}."):
            siblings = {name.split(".")[2] for name in imports(path) if name.startswith(f"continual.{folder}.")}
            assert siblings <= {"base"}, module


def test_metrics_scores_ledger_and_records_run_without_torch() -> None:
    light = [f"continual.{m}" for m in LIGHT if not m.startswith("store") and not m.endswith("__init__")]
    code = f"import sys, {', '.join(light)}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "False\n"
