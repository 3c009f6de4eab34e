"""What the quality records say: accuracy against full fine-tuning, forgetting, and the best of eight learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any


@dataclass(frozen=True)
class Method:
    """Points, 0 to 100. ``rates``: factor of the named rate -> mean score on the ``seeds``; a diverged module has 0."""

    lr: float
    accuracy: Mapping[int, float]
    tasks: Mapping[str, float]
    forgetting: float
    first: float
    rates: Mapping[float, float]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Learning:
    setting: str
    methods: Mapping[str, Method]

    def kept(self, name: str) -> float:
        """% of full fine-tuning's accuracy, both means over tasks and seeds."""
        return 100 * mean(self.methods[name].accuracy.values()) / mean(self.methods["full"].accuracy.values())

    def spread(self, name: str) -> float | None:
        """Best less worst of the eight rates, in points."""
        rates = self.methods[name].rates if name in self.methods else {}
        return max(rates.values()) - min(rates.values()) if rates else None

    def table(self, order: Sequence[str]) -> str:
        names = list(next(iter(self.methods.values())).tasks)
        head = [
            "",
            "lr",
            *names,
            "average",
            "forgetting, all pairs",
            "first pair",
            "eight rates",
            "spread",
            "best rate",
        ]
        lines = [head, ["---"] * len(head)]
        for name in order:
            if one := self.methods.get(name):
                scores = [f"{one.tasks[task]:.1f}" for task in names]
                forgot = [f"{one.forgetting:.1f}", f"{one.first:.1f}"]
                lines.append([name, f"{one.lr:g}", *scores, _average(one), *forgot, *self._rates(name, one)])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def _rates(self, name: str, one: Method) -> list[str]:
        spread = self.spread(name)
        if spread is None:
            return ["–", "–", "–"]
        best = max(one.rates, key=lambda factor: one.rates[factor])
        there = mean(one.accuracy[seed] for seed in one.seeds)
        gain = f"{best:g} × ({one.rates[best] - there:+.1f})"
        seeds = f"{len(one.seeds)} seed{'s' if len(one.seeds) > 1 else ''}"
        return [", ".join(f"{score:.1f}" for score in one.rates.values()) + f" ({seeds})", f"{spread:.1f}", gain]


def learning(records: Mapping[str, Any]) -> Learning:
    found = {r["setting"]["method"]: r for name, r in sorted(records.items()) if name.startswith("quality-")}
    first = next(iter(found.values()))
    said, machine = first["setting"], first["machine"]
    seeds = ", ".join(str(seed) for seed in said["seeds"])
    setting = (
        f"MiniLM-L6 on the four tasks of quickstart: {said['train']} training rows (0.8 and 0.5 of it for the last "
        f"two), {said['epochs']} epochs, batch {said['batch']}, seeds {seeds}; on {machine['device']} in float32, "
        f"torch {machine['versions']['torch']}. Accuracy in % of test rows. Forgetting, in points: a module goes on to "
        "the next task, then answers the first by the head that it had; all four pairs of neighbours, and the first "
        "(reuters-r8, then rotten-tomatoes). Eight rates: ¼ to 4 times the method's own, equally far apart in the "
        "logarithm, module and head alike; best less worst is the spread; a module that diverged scores 0. The best "
        "rate is seen on test rows: read its gain over the named rate, in parentheses, with that in mind."
    )
    return Learning(setting, {name: _method(record) for name, record in found.items()})


def _method(record: Mapping[str, Any]) -> Method:
    rows = record["rows"]
    modules, pairs = rows["default"]["modules"], rows["forgetting"]["pairs"]
    swept = _whole(rows.get("rates", {}).get("modules", []), 8 * len({m["task"] for m in modules}))
    lost = [100 * (p["before"] - p["after"]) for p in pairs if p["before"] is not None and p["after"] is not None]
    first = [100 * (p["before"] - p["after"]) for p in pairs if p["task"] == pairs[0]["task"]]
    return Method(
        lr=record["setting"]["lr"],
        accuracy=_by(modules, "seed"),
        tasks=_by(modules, "task"),
        forgetting=mean(lost),
        first=mean(first),
        rates=dict(sorted(_by(swept, "factor").items())),
        seeds=tuple(dict.fromkeys(m["seed"] for m in swept)),
    )


def _whole(swept: Sequence[Mapping[str, Any]], size: int) -> list[Mapping[str, Any]]:
    """The modules of the seeds that have all their rates."""
    seeds = [m["seed"] for m in swept]
    return [m for m in swept if seeds.count(m["seed"]) == size]


def _by(modules: Sequence[Mapping[str, Any]], key: str) -> dict[Any, float]:
    return {
        at: mean(100 * (m["score"] or 0.0) for m in modules if m[key] == at)
        for at in dict.fromkeys(m[key] for m in modules)
    }


def _average(one: Method) -> str:
    values = one.accuracy.values()
    return f"{mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"
