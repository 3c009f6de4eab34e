"""What AdapterFusion's cost must reach, and whether a record of ``cost.py`` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, NamedTuple

from tables import ratio, table

WHOLE = {"8": (6.0, 8.0), "32": (15.0, 20.0)}
"""On a GPU, with bfloat16 products: a training step, and a forward, of N modules."""
CORES = {"8": (3.0, 2.2), "16": (6.0, 3.5)}
"""The same on two cores."""


class Target(NamedTuple):
    """``found``: a value, and how it is shown."""

    what: str
    found: tuple[float, str]
    least: float | None = None
    most: float | None = None

    @property
    def row(self) -> list[str]:
        value, text = self.found
        met = value >= self.least if self.least is not None else self.most is not None and value <= self.most
        must = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:.2g}"
        return [self.what, text, must, "yes" if met else "**no**"]


def targets(rows: Mapping[str, Any], precision: str, plain: Mapping[str, Any] | None) -> str:
    """``plain``: on a CPU the rows of the same in float32; None: it is a GPU."""
    whole = WHOLE if precision == "bf16-mixed" else {}
    cores = () if plain is None else _cores(rows, plain if precision == "bf16-mixed" else {})
    found = (*_speeds(rows, whole), *cores, *_sizes(rows), *_forms(rows))
    return table(["", "measured", "must", "met"], [target.row for target in found])


def beside(memory: Mapping[str, int]) -> int:
    """Bytes that training needs beside the loaded model."""
    return memory["peak"] - memory["loaded"]


def _speeds(rows: Mapping[str, Any], whole: Mapping[str, tuple[float, float]]) -> Iterator[Target]:
    for count, must in (("8", 2.0), ("32", 4.0)):
        if row := rows.get(count):
            step, forward = row["step"], row["forward"]
            yield Target(f"step of {count}, `adapters` ÷ ours", ratio(step["adapters"], step["ours"]), must)
            yield Target(f"step of {count}, `adapters`, no dropout ÷ ours", ratio(step["still"], step["ours"]), must)
            yield Target(f"forward of {count}, `adapters` ÷ ours", ratio(forward["adapters"], forward["ours"]), must)
            if (graph := forward.get("graph")) and count in whole:
                step_must, forward_must = whole[count]
                what = f"step of {count}, `adapters` ÷ ours, a captured step"
                yield Target(what, ratio(step["adapters"], step["ours"]), step_must)
                what = f"forward of {count}, `adapters` ÷ ours as a CUDA graph"
                yield Target(what, ratio(forward["adapters"], graph), forward_must)


def _cores(rows: Mapping[str, Any], plain: Mapping[str, Any]) -> Iterator[Target]:
    """Beside theirs in the same precision, and beside theirs as it comes, in float32: of medians, of two records."""
    for count, musts in CORES.items():
        for what, must in zip(("step", "forward"), musts, strict=True):
            if row := rows.get(count):
                ours = row[what]["ours"]
                label = f"on two cores, {what} of {count}, `adapters`"
                yield Target(f"{label} ÷ ours", ratio(row[what]["adapters"], ours), must)
                if count in plain:
                    times = median(plain[count][what]["adapters"]) / median(ours)
                    yield Target(f"{label} in float32 ÷ ours", (times, f"{times:.2f}"), must)
    if row := rows.get("16"):
        share = beside(row["memory"]["ours"]) / beside(row["memory"]["adapters"])
        yield Target("memory of 16, ours ÷ `adapters`", (share, f"{share:.2f}"), most=1 / 4)


def _sizes(rows: Mapping[str, Any]) -> Iterator[Target]:
    if not (row := rows.get("32")):
        return
    for name, how in (("adapters", ""), ("still", ", no dropout")):
        share = beside(row["memory"]["ours"]) / beside(row["memory"][name])
        yield Target(f"memory of 32, ours ÷ `adapters`{how}", (share, f"{share:.2f}"), most=1 / 3)
    if "two" in row["step"]:
        yield Target("our step of 32 ÷ of 2", ratio(row["step"]["ours"], row["step"]["two"]), most=1.5)


def _forms(rows: Mapping[str, Any]) -> Iterator[Target]:
    if rows:
        worst = max(row["direct"][what] for row in rows.values() for what in ("output", "gradient"))
        yield Target("rank space and direct form apart, at most", (worst, f"{worst:.1e}"), most=1e-4)
    for count, row in rows.items():
        if pruned := row["forward"].get("pruned"):
            for name, how in (("ours", ""), ("direct", " in the direct form")):
                yield Target(f"forward of {count}{how} ÷ pruned to 2", ratio(row["forward"][name], pruned), 1.5)
