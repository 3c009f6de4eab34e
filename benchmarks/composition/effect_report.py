"""What the records of ``effect.py`` say, as markdown: ``section`` gives its lines for the page.

Points, 0 to 100. An interval is the 95 % percentile bootstrap over seeds, of paired differences for a gain: with five
seeds it is narrower than a t interval would be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from continual.stream.sample import draws

RELATED = ("cr", "mpqa", "mrpc")
"""Targets that ask what a source asks: sentiment, or whether two texts mean the same."""
CHOICE = ("single", "own", "sources")
PARTS = ("bottleneck", "prefix", "lora")
_NAMES = {"minilm": "MiniLM-L6", "minilm-fp16": "MiniLM-L6"}


class Cell(NamedTuple):
    """One target at so many rows under one score: variant -> its test scores, seed by seed.

    ``chosen``: of ``CHOICE`` the one with the best validation score of that seed; of equal ones the first.
    own: whether it is the target's own score · majority: the accuracy of always saying the most frequent label
    """

    target: str
    score: str
    rows: int
    seeds: list[int]
    values: dict[str, list[float]]
    own: bool = True
    majority: float = 0.0

    @property
    def learned(self) -> bool:
        """Whether any way of learning does better than the most frequent label does."""
        return self.score != "accuracy" or any(mean(self.values[v]) > self.majority for v in ("head", *CHOICE))

    def gain(self, variant: str, reference: str = "single") -> list[float]:
        return [a - b for a, b in zip(self.values[variant], self.values[reference], strict=True)]


def section(records: Path) -> list[str]:
    """Nothing where there are no records."""
    fusion = read(records, "fusion")
    return [
        *_fusion("AdapterFusion's effect", fusion),
        *_attention(fusion.get("isarcasm")),
        *_fusion("AdapterFusion's effect on RTE and CB, after MNLI and QQP", read(records, "nli")),
        *_bundles(read(records, "unipelt")),
    ]


def cells(record: Mapping[str, Any], variants: Sequence[str]) -> list[Cell]:
    """By accuracy, then by the target's own score where that is another."""
    said = record["setting"]
    found = []
    for score in dict.fromkeys(("accuracy", said["score"])):
        for rows in sorted({int(key.split("/")[0]) for key in record["rows"]}):
            entries = {int(key.split("/")[1]): e for key, e in record["rows"].items() if key.startswith(f"{rows}/")}
            seeds = sorted(entries)
            values = {v: [100 * entries[seed][v]["test"][score] for seed in seeds] for v in variants}
            if set(CHOICE) <= set(variants):
                picks = [max(CHOICE, key=lambda v, s=seed: entries[s][v]["valid"][score]) for seed in seeds]
                values["chosen"] = [values[v][i] for i, v in enumerate(picks)]
            majority = 100 * said.get("majority", 0.0)
            found.append(Cell(said["target"], score, rows, seeds, values, score == said["score"], majority))
    return found


def interval(values: Sequence[float], rounds: int = 10_000) -> tuple[float, float]:
    """95 % of the means of resamples, the same in every call.

    >>> interval([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    picks = (draws(rounds * len(values), "seeds", len(values)) % len(values)).astype(int).reshape(rounds, -1)
    low, high = np.quantile(np.asarray(values)[picks].mean(1), [0.025, 0.975])
    return float(low), float(high)


def read(records: Path, what: str) -> dict[str, Any]:
    """Target -> its record, of those that have rows."""
    paths = sorted(records.glob(f"effect-{what}-*.json"))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return {record["setting"]["target"]: record for record in found if record["rows"]}


def _fusion(title: str, records: Mapping[str, Any]) -> list[str]:
    if not records:
        return []
    found = [cell for record in records.values() for cell in cells(record, ("head", *CHOICE))]
    titles = ["target", "score", "rows", "head", "bottleneck", "fusion, sources + own", "fusion, sources", "chosen"]
    titles += ["gain with own", "gain of sources alone", "gain of the chosen"]
    lines = [titles]
    for cell in found:
        scores = [spread(cell.values[v]) for v in ("head", *CHOICE, "chosen")]
        gains = [spread(cell.gain(v), "+") for v in ("own", "sources", "chosen")]
        lines.append([cell.target, cell.score.replace("_", " "), str(cell.rows), *scores, *gains])
    record = next(iter(records.values()))
    return [f"### {title}", "", *_setting(record), "", *table(lines), "", *_verdict(found), ""]


def _setting(record: Mapping[str, Any]) -> list[str]:
    said = record["setting"]
    sources = ", ".join(f"{name} ({one['rows']:,})" for name, one in said.get("sources", {}).items())
    rounded = "; the encoder's weights were rounded to float16" if said["weights"] == "F16" else ""
    encoder = _NAMES.get(said["encoder"], said["encoder"])
    facts = (
        f"Encoder {encoder}{rounded}, {said['max_length']} tokens, batch {said['batch']}, {said['epochs']} epochs, the "
        f"state after the last; on {record['machine']['device']}, torch {record['machine']['versions']['torch']}. "
        f"Fusion: rate {said['fusion_lr']:g}, regulariser {said['regularizer']:g}. "
        f"Sources, learned once with {said['source_epochs']} epochs: {sources}. "
        "Gains are over the bottleneck. Chosen: of bottleneck, fusion over sources + own and over the sources alone "
        "the best on the validation rows, which are as many as the training rows; of equal ones the first named. Mean "
        "over seeds with its 95 % bootstrap interval."
    )
    return [facts]


def _verdict(found: Iterable[Cell]) -> list[str]:
    """The bars: +2 at 100 rows on related targets; chosen on validation nowhere worse by more than 0.5."""
    found = list(found)
    related = [cell for cell in found if cell.target in RELATED and cell.rows == 100 and cell.score == "accuracy"]
    known = [cell for cell in related if cell.learned]
    lines = []
    for chosen, which in ((related, "related targets"), (known, "those of them that are learned at all")):
        for variant, name in (("own", "sources + own"), ("sources", "the sources alone"), ("chosen", "the chosen")):
            if chosen and (which.startswith("related") or known != related):
                names = ", ".join(cell.target for cell in chosen)
                lines.append(f"- {name}: mean gain at 100 rows on {which} ({names}) {gain(chosen, variant)}; bar: +2")
    for cell in related:
        if not cell.learned:
            best = max(mean(cell.values[v]) for v in ("head", *CHOICE))
            lines.append(
                f"- {cell.target} at 100 rows is not learned by anything here: the best mean is {best:.1f}, "
                f"the most frequent label {cell.majority:.1f}"
            )
    own = [cell for cell in found if cell.own]
    worst = min(own, key=lambda cell: mean(cell.gain("chosen")))
    where = f"{worst.target}, {worst.rows} rows, {worst.score.replace('_', ' ')}"
    below = sum(mean(cell.gain("chosen")) < -0.5 for cell in own)
    worse = f"{below} of {len(own)} cells, each by the target's own score, below the bar"
    return [*lines, f"- the chosen's worst: {where}, {spread(worst.gain('chosen'), '+')}; bar: -0.5; {worse}"]


def gain(found: Sequence[Cell], variant: str) -> str:
    """Over the bottleneck, the mean over targets, with its interval over seeds."""
    return spread([mean(each) for each in zip(*(cell.gain(variant) for cell in found), strict=False)], "+")


def _attention(record: Mapping[str, Any] | None) -> list[str]:
    """Mean weight of each member by layer, over test tokens and seeds."""
    lines = []
    keys = sorted({int(key.split("/")[0]) for key in record["rows"]}) if record else []
    for variant in ("textbook-own", "textbook", "own"):
        for rows in keys:
            assert record is not None
            entries = [e[variant] for key, e in record["rows"].items() if key.startswith(f"{rows}/")]
            found = [["layer", *entries[0]["members"]]]
            for address in entries[0]["attention"]:
                weights = [mean(each) for each in zip(*(e["attention"][address] for e in entries), strict=True)]
                found.append([address.split("/")[0], *(f"{weight:.2f}" for weight in weights)])
            scores = spread([100 * e["test"]["macro_f1"] for e in entries])
            lines += [f"Sarcasm, {rows} rows, {len(entries)} seeds; macro F1 {scores}:", "", *table(found), ""]
    return ["### Attention that sarcasm learned, by layer", "", *lines] if lines else []


def _bundles(records: Mapping[str, Any]) -> list[str]:
    """Each target by its own score, as GLUE averages them."""
    if not records:
        return []
    names = ("bundle", *PARTS)
    found = [c for record in records.values() for c in cells(record, names) if c.score == record["setting"]["score"]]
    lines = [["target", "score", "rows", *names, "bundle less the best part"]]
    for cell in found:
        best = max(PARTS, key=lambda name: mean(cell.values[name]))
        scores = [spread(cell.values[name]) for name in names]
        gain = f"{spread(cell.gain('bundle', best), '+')} ({best})"
        lines.append([cell.target, cell.score.replace("_", " "), str(cell.rows), *scores, gain])
    said = next(iter(records.values()))["setting"]
    rates = ", ".join(f"{name} {rate:g}" for name, rate in said["lr"].items())
    intro = f"Bundle: method `{said['bundle']}`; learning rates: {rates}; {said['epochs']} epochs, the last state."
    return ["### UniPELT's effect", "", intro, "", *table(lines), "", *_averages(found), ""]


def _averages(found: Sequence[Cell]) -> list[str]:
    """Over targets: against the part that is best on average, and, as published, against the best part of each."""
    lines = []
    for rows in sorted({cell.rows for cell in found}):
        here = [cell for cell in found if cell.rows == rows]
        seeds = range(min(len(cell.seeds) for cell in here))
        average = {v: [mean(cell.values[v][i] for cell in here) for i in seeds] for v in ("bundle", *PARTS)}
        best = max(PARTS, key=lambda name: mean(average[name]))
        gains = [a - b for a, b in zip(average["bundle"], average[best], strict=True)]
        each = mean(max(mean(cell.values[part]) for part in PARTS) for cell in here)
        lines.append(
            f"- {rows} rows, mean of {len(here)} targets: bundle {spread(average['bundle'])}, best part {best} "
            f"{spread(average[best])}, gain {spread(gains, '+')}; "
            f"the best part of each target, seen on test rows, {each:.1f}"
        )
    return lines


def spread(values: Sequence[float], sign: str = "") -> str:
    """The mean and its interval, in points."""
    low, high = interval(values)
    return f"{mean(values):{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def table(lines: Sequence[list[str]]) -> list[str]:
    """Markdown; the first line is its head."""
    return ["| " + " | ".join(line) + " |" for line in (lines[0], ["---"] * len(lines[0]), *lines[1:])]


if __name__ == "__main__":
    print("\n".join(section(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent / "records"))))
