"""The section of the page about whole runs of a stream: the record of ``stream.py``, one entry a run and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import mean, median
from typing import Any

from shown import NONE, Target, ratio, table, targets

PAIRS = {"adapters": "ours", "peft": "ours, lora"}
GIVEN = "our batches, bf16"
LONGER = "10 epochs"
Get = Callable[[Any], float]


class Runs:
    """``of`` gives a number of each run of that name, by seed."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.rows: Mapping[str, Any] = record["rows"]
        self.names = list(dict.fromkeys(name.rsplit(" s", 1)[0] for name in self.rows))
        self.tasks = list(next(iter(self.rows.values()))["accuracy"])
        self.gpu = "card" in record["setting"]

    def of(self, name: str, get: Get) -> dict[str, float]:
        own = {key.rsplit(" s", 1)[1]: row for key, row in self.rows.items() if key.rsplit(" s", 1)[0] == name}
        return {seed: get(own[seed]) for seed in sorted(own, key=int)}

    def both(self, a: str, b: str, get: Get) -> tuple[list[float], list[float]]:
        """Of the seeds that both have."""
        one, other = self.of(a, get), self.of(b, get)
        seeds = [seed for seed in one if seed in other]
        return [one[seed] for seed in seeds], [other[seed] for seed in seeds]


def whole(row: Any) -> float:
    return row["seconds"]


def run(row: Any) -> float:
    return row.get("run", row["seconds"])


def score(row: Any) -> float:
    return 100 * mean(row["accuracy"].values())


def tables(record: Mapping[str, Any]) -> list[str]:
    runs = Runs(record)
    return [times(runs), accuracies(runs), targets(judged(runs))]


def times(runs: Runs) -> str:
    head = ["seconds", "whole process", "without start and data", "learning", "scoring and all else"]
    head += ["peak MB", "seeds"]
    body = []
    for name in runs.names:
        found = [
            runs.of(name, whole),
            {seed: value for seed, value in runs.of(name, run).items() if "run" in runs.rows[f"{name} s{seed}"]},
            runs.of(name, lambda row: row["parts"]["learning"]),
            runs.of(name, lambda row: row["seconds"] - row["parts"]["learning"]),
            runs.of(name, lambda row: row["peak"] / 1e6),
        ]
        body.append([name, *(f"{median(one.values()):.0f}" if one else NONE for one in found), str(len(found[0]))])
    return table(head, body)


def accuracies(runs: Runs) -> str:
    body = []
    for name in runs.names:
        found = [runs.of(name, lambda row, task=task: 100 * row["accuracy"][task]) for task in runs.tasks]
        line = [name, *(f"{mean(one.values()):.1f}" for one in found), f"{mean(runs.of(name, score).values()):.1f}"]
        fused = [
            100 * row["fusion"] for key, row in runs.rows.items() if key.startswith(f"{name} s") and "fusion" in row
        ]
        body.append([*line, f"{mean(fused):.1f}" if fused else NONE] if runs.gpu else line)
    head = ["accuracy, %: mean over seeds", *runs.tasks, "mean"]
    return table([*head, "fusion for the first"] if runs.gpu else head, body)


def judged(runs: Runs) -> list[Target]:
    """Ratios of the same seed; and that they are of the same accuracy, within a point."""
    found = []
    for peer, own in PAIRS.items():
        held = [
            (peer, (own, f"{own}, bf16"), 15.0 if runs.gpu else 4.0),
            (f"{peer}, {GIVEN}", (own, f"{own}, bf16"), 15.0 if runs.gpu else 1.5),
            (f"{peer}, {LONGER}", (f"{own}, bf16, {LONGER}",), 15.0),
        ]
        for rival, mines, least in held:
            for mine in (name for name in mines if name in runs.names):
                found.append(Target(f"seconds, {rival} ÷ {mine}", *ratio(*runs.both(rival, mine, whole)), least, True))
                if runs.gpu:
                    what = f"without start and data, {rival} ÷ {mine}"
                    found.append(Target(what, *ratio(*runs.both(rival, mine, run)), least, True))
                gaps = [a - b for a, b in zip(*runs.both(mine, rival, score), strict=True)]
                gap = mean(gaps) if gaps else None
                found.append(Target("its accuracy, ours − theirs, points", gap, f"{gap or 0:+.1f}", -1, True))
    return found
