"""What else was tried, out of ``records/tried/<setting>``, and what a fusion loses by pruning, as markdown."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from effect_report import CHOICE, PARTS, RELATED, Cell, cells, gain, read, spread, table

PRUNED_BAR = 0.3
PRUNE = "prune-"
"""How folders of the same setting begin in which a pruned fusion was trained on."""
BOTH = ("own", "sources")
RATES = ("as above", "third", "half", "double")
"""Folders of the same setting at other rates."""


def section(records: Path) -> list[str]:
    """Nothing where there are no records."""
    folders = {"as above": records, **{path.name: path for path in sorted((records / "tried").glob("*"))}}
    return [*_pruned(folders), *_fusions(folders), *_bundles(folders)]


def _pruned(folders: Mapping[str, Path]) -> list[str]:
    """Two members a site, those of the largest mean weight on the validation rows."""
    lines: list[list[str]] = [["target", "score", "rows", "trained on for", "sources + own", "sources"]]
    losses: dict[int, dict[str, list[float]]] = {}
    for name in ("as above", *(name for name in folders if name.startswith(PRUNE))):
        for target, record in read(folders[name], "fusion").items():
            epochs, score = record["setting"].get("prune_epochs", 0), record["setting"]["score"]
            for rows in sorted({int(key.split("/")[0]) for key in record["rows"]}):
                entries = [entry for key, entry in record["rows"].items() if key.startswith(f"{rows}/")]
                if not all("pruned" in entry[v] for entry in entries for v in BOTH):
                    continue
                lost = {v: [100 * (e[v]["pruned"]["test"][score] - e[v]["test"][score]) for e in entries] for v in BOTH}
                shown = [spread(values, "+") for values in lost.values()]
                lines.append([target, score.replace("_", " "), str(rows), f"{epochs} epochs", *shown])
                for variant, values in lost.items():
                    losses.setdefault(epochs, {v: [] for v in BOTH})[variant].append(mean(values))
    if len(lines) == 1:
        return []
    title = "### What a fusion's score loses by pruning to two members a site"
    intro = (
        "Those of the largest mean attention on the validation rows stay; afterwards the mixers and the head go on "
        "training for so many epochs. Test rows."
    )
    said = [f"- {_lost(epochs, found)}; bar: {PRUNED_BAR} points" for epochs, found in sorted(losses.items())]
    return [title, "", intro, "", *table(lines), "", *said, ""]


def _lost(epochs: int, losses: Mapping[str, Sequence[float]]) -> str:
    each = (
        f"{name}: mean {mean(losses[v]):+.2f}, {sum(loss < -PRUNED_BAR for loss in losses[v])} of {len(losses[v])} "
        f"lose more than {PRUNED_BAR}"
        for v, name in zip(BOTH, ("sources + own", "the sources alone"), strict=True)
    )
    return f"trained on for {epochs} epochs: {'; '.join(each)}"


def _fusions(folders: Mapping[str, Path]) -> list[str]:
    """Gains at 100 rows on the related targets, setting by setting."""
    lines = [["setting", "fusion rate", "regulariser", "epochs", *_columns()]]
    for name, folder in folders.items():
        records = read(folder, "fusion")
        if name.startswith(PRUNE) or not set(RELATED) <= records.keys():
            continue
        said = records[RELATED[0]]["setting"]
        found = [_at(records[target], 100) for target in RELATED]
        each = [spread(cell.gain(v), "+") for cell in found for v in ("own", "sources")]
        facts = [f"{said['fusion_lr']:g}", f"{said['regularizer']:g}", str(said["epochs"])]
        lines.append([name, *facts, *each, gain(found, "own"), gain(found, "sources"), gain(found, "chosen")])
    if len(lines) < 3:
        return []
    intro = f"Gains over the bottleneck that took as many epochs, at 100 rows, mean of seeds; {', '.join(RELATED)}."
    return ["### Fusion: what was tried", "", intro, "", *table(lines), ""]


def _columns() -> list[str]:
    names = [f"{target}, {v}" for target in RELATED for v in ("with own", "sources")]
    return [*names, "mean with own", "mean of sources", "mean of the chosen"]


def _at(record: Mapping[str, Any], rows: int) -> Cell:
    return next(c for c in cells(record, ("head", *CHOICE)) if c.rows == rows and c.score == "accuracy")


def _bundles(folders: Mapping[str, Path]) -> list[str]:
    """UniPELT's bundle beside its parts, setting by setting, on the targets that the setting was tried on."""
    lines = [["setting", "rates ×", "epochs", "rows", "targets", "bundle", "bottleneck", "prefix", "lora", "gain"]]
    for name, folder in folders.items():
        records = read(folder, "unipelt")
        found = [c for record in records.values() for c in cells(record, ("bundle", *PARTS)) if c.own]
        for rows in sorted({cell.rows for cell in found}) if found else ():
            lines.append(_bundle(name, rows, [cell for cell in found if cell.rows == rows], records))
    if len(lines) < 2 or not any(line[0] != "as above" for line in lines[1:]):
        return []
    intro = "Means over targets by their own scores; the gain is over the part that is best on average."
    return ["### UniPELT: what was tried", "", intro, "", *table(lines), "", *_tuned(folders)]


def _tuned(folders: Mapping[str, Path]) -> list[str]:
    """Each method at the rate that is best for it on each target's validation rows, mean of seeds."""
    records = {name: read(folders[name], "unipelt") for name in RATES if name in folders}
    targets = [t for t in records["as above"] if all(t in found for found in records.values())]
    lines = [["rows", "targets", "bundle", *PARTS, "gain"]]
    for rows in (100, 500):
        made = {t: {name: _means(found[t], rows) for name, found in records.items()} for t in targets}
        made = {t: {name: means for name, means in found.items() if means} for t, found in made.items()}
        if not made or min(len(found) for found in made.values()) < 2:
            continue
        best = {
            v: mean(max(found.values(), key=lambda m: m[v])[v][1] for found in made.values())
            for v in ("bundle", *PARTS)
        }
        top = max(PARTS, key=lambda part: best[part])
        shown = [f"{best[v]:.1f}" for v in best]
        lines.append([str(rows), ", ".join(targets), *shown, f"{best['bundle'] - best[top]:+.1f} ({top})"])
    intro = "Each at its best of the rates × 1/3, 1/2, 1 and 2 (those measured), chosen on validation rows; test rows."
    return ["Every method with a rate of its own:", "", intro, "", *table(lines), ""] if len(lines) > 1 else []


def _means(record: Mapping[str, Any], rows: int) -> dict[str, tuple[float, float]]:
    """Of each method its mean over seeds on validation and on test rows, in percent; empty where none was measured."""
    score = record["setting"]["score"]
    entries = [entry for key, entry in record["rows"].items() if key.startswith(f"{rows}/")]
    parts = {v: [(100 * e[v]["valid"][score], 100 * e[v]["test"][score]) for e in entries] for v in ("bundle", *PARTS)}
    return {v: (mean(a for a, _ in both), mean(b for _, b in both)) for v, both in parts.items() if both}


def _bundle(name: str, rows: int, found: Sequence[Cell], records: Mapping[str, Any]) -> list[str]:
    said = next(iter(records.values()))["setting"]
    seeds = range(min(len(cell.seeds) for cell in found))
    means = {v: [mean(cell.values[v][i] for cell in found) for i in seeds] for v in ("bundle", *PARTS)}
    best = max(PARTS, key=lambda part: mean(means[part]))
    gains = [a - b for a, b in zip(means["bundle"], means[best], strict=True)]
    facts = [f"{said.get('factor', 1.0):g}", str(said["epochs"]), str(rows), ", ".join(c.target for c in found)]
    return [name, *facts, *(spread(means[v]) for v in means), f"{spread(gains, '+')} ({best})"]


if __name__ == "__main__":
    print("\n".join(section(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent / "records"))))
