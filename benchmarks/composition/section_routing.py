"""The section of the page about routers: records of ``routing.py``, and of ``routing_tried.py`` on held-out rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from tables import table

NONE = "–"
SETS = {"clinc": "CLINC150, ten domains of 15 intents", "banking": "Banking77, seven groups of 11 intents"}
FIRST = ("mixture", "mahalanobis", "learned", "nearest", "kmeans", "max_logit", "energy", "entropy", "oracle")
WHAT = (
    "A bottleneck a task on MiniLM-L6, learned in isolation; the test rows of all tasks, and nobody says of which task "
    "a row is. Route: rows that went to their own task's module. Total: rows answered right. Gap: what the oracle, "
    "which is told the task, answers right beside that. AUROC: how well the router's doubt tells CLINC150's "
    "out-of-scope queries from the others. In percent, means over the seeds with their smallest and largest; a seed "
    "draws the modules' initial values and the order of the tasks. The modules were learned on an H200, the routers "
    "asked on a CPU."
)
TRIED = (
    "Held-out rows, as far as it was run: what was tried before the defaults were chosen. Test rows chose nothing. A "
    "seed that is missing was not run."
)


def section(records: Mapping[str, Any]) -> list[str]:
    parts = ["## Routers", WHAT]
    if not records:
        return [*parts, "Not measured yet (`python benchmarks/composition/routing.py --data FOLDER --keep FOLDER`)."]
    for name, title in SETS.items():
        if record := records.get(f"routing-{name}"):
            parts += [f"### {title}", _table(record), "Our own targets:", _targets(record)]
    for name, title in SETS.items():
        if record := records.get(f"routing-{name}-valid"):
            parts += [f"### Tried on {title}", TRIED, _table(record)]
    return parts


def by_router(record: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Router -> its entries, seed by seed; those of the package first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for key, entry in record["rows"].items():
        found.setdefault(key.rsplit("/", 1)[0], []).append(entry)
    return {name: found[name] for name in [*(n for n in FIRST if n in found), *(n for n in found if n not in FIRST)]}


def _table(record: Mapping[str, Any]) -> str:
    head = ["router", "route", "total", "gap to the oracle", "AUROC, out of scope", "seeds"]
    body = []
    for name, entries in by_router(record).items():
        cells = [_share([entry[key] for entry in entries]) for key in ("route", "total", "gap")]
        known = [entry["auroc"] for entry in entries if entry["auroc"] is not None]
        body.append([name, *cells, _share(known) if known else NONE, str(len(entries))])
    return table(head, body)


def _targets(record: Mapping[str, Any]) -> str:
    found = by_router(record)
    ours, least = (mean(entry["total"] for entry in found[name]) for name in ("mixture", "nearest"))
    gain = f"{100 * (ours - least):+.1f}"
    body = [["total of mixture, the default, minus nearest", gain, "≥ 0", _met(ours >= least)]]
    if (doubt := [entry["auroc"] for entry in found["mixture"]])[0] is not None:
        body.append(["AUROC of mixture, out of scope", f"{mean(doubt):.3f}", "≥ 0.90", _met(mean(doubt) >= 0.9)])
    return table(["", "measured", "must", "met"], body)


def _share(values: Sequence[float]) -> str:
    text = f"{100 * mean(values):.1f}"
    return text if len(values) < 2 else f"{text} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def _met(met: bool) -> str:
    return "yes" if met else "**no**"
