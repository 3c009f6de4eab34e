"""How the page shows numbers: medians, ratios of pairs, targets, the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import paths  # noqa: F401
import tables

NONE = "–"
table = tables.table


@dataclass(frozen=True)
class Target:
    """``value`` is None where it was not measured; ``text`` is how it is shown."""

    what: str
    value: float | None
    text: str
    must: float
    least: bool
    unit: str = ""

    @property
    def row(self) -> list[str]:
        said = f"{'≥' if self.least else '≤'} {self.must:g}{self.unit}"
        if self.value is None:
            return [self.what, NONE, said, NONE]
        met = self.value >= self.must if self.least else self.value <= self.must
        return [self.what, self.text, said, "yes" if met else "**missed**"]


def targets(rows: Sequence[Target]) -> str:
    return table(["target", "measured", "must", "met"], [one.row for one in rows])


def ratio(a: Sequence[float] | None, b: Sequence[float] | None, over: bool = False) -> tuple[float | None, str]:
    """Median of a/b over the pairs, and as text with its quartiles; ``over``: as percent above 1."""
    if not a or not b:
        return None, NONE
    pairs = [100 * (x / y - 1) if over else x / y for x, y in zip(a, b, strict=True)]
    low, _, high = quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3
    shape = "+.1f" if over else ",.0f" if median(pairs) >= 100 else ".2f"
    middle, *rest = (format(value, shape) for value in (median(pairs), low, high))
    return median(pairs), f"{middle}{' %' if over else ''} ({' to '.join(rest)})"


def ms(seconds: Sequence[float] | None) -> str:
    if not seconds:
        return NONE
    found = 1e3 * median(seconds)
    return f"{found:.0f}" if found >= 100 else f"{found:.1f}" if found >= 1 else f"{found:.4f}"


def setting(record: Mapping[str, Any]) -> str:
    """Hardware, versions, and what was given."""
    said, machine = record["setting"], record["machine"]
    ours = [f"{name} {number}" for name, number in machine["versions"].items() if number and name != "bitsandbytes"]
    peers = {f"{name} {number}" for row in record["rows"].values() for name, number in row.get("peer", {}).items()}
    given = ", ".join(f"{key} {value}" for key, value in said.items() if key not in ("cpu", "cores"))
    busy = max(row["busy"] for row in record["rows"].values())
    beside = f"; beside it {', '.join(sorted(peers - set(ours)))}" if peers - set(ours) else ""
    return (
        f"{said['cpu']}, {said['cores']} cores, threads: {machine['threads']}, at most {busy:.1f} processes waiting "
        f"for a core when a measurement began; {', '.join(ours)}{beside}. {given[0].upper()}{given[1:]}."
    )


def apart(record: Mapping[str, Any]) -> str:
    """How far what was timed is from the plain form."""
    found = [value for row in record["rows"].values() for side in row["apart"].values() for value in side.values()]
    return (
        f"Before it was timed, no side's answers or gradients were further than {max(found):.0e} from the plain form's."
    )
