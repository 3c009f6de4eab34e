"""What a score costs: each run of a stream against its parameters, bytes and seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from continual.report.draw import (
    BELOW,
    Figure,
    Shown,
    Value,
    below,
    harmless,
    heading,
    label,
    layout,
    marker,
    percent,
    spans,
    titled,
)
from continual.report.grid import plain, points
from continual.report.record import Record
from continual.report.setups import Setup, order

SCORE = "average_accuracy"
COSTS: dict[str, Callable[[Record], float]] = {
    "trained parameters": lambda run: sum(module.trainable for module in run.modules),
    "bytes stored": lambda run: sum(module.bytes for module in run.modules),
    "seconds of training": lambda run: round(sum(module.seconds for module in run.modules), 1),
}


def pareto(setups: Sequence[Setup]) -> Shown:
    """Average accuracy of each run against what it cost; a line joins the runs that none beats in both."""
    scored = [[(run, value) for run in setup.runs if (value := _score(run)) is not None] for setup in setups]
    if not any(scored):
        return "No finished run of this stream has an average accuracy."
    data, axes, titles = list[dict[str, Any]](), {"yaxis": titled("average accuracy, %")}, []
    best = dict[str, set[tuple[float, float]]]()
    for number, ((name, cost), span) in enumerate(zip(COSTS.items(), spans(len(COSTS), 0.06), strict=True), 1):
        own = "" if number == 1 else str(number)
        axes[f"xaxis{own}"] = {"domain": span, "type": "log", "nticks": 5, "exponentformat": "SI"}
        titles.append(heading(name, sum(span) / 2, 1))
        unbeaten = front([(cost(run), value) for found in scored for run, value in found if cost(run) > 0])
        best[name] = set(unbeaten)
        traces = [_front(unbeaten)]
        traces += [_dots(setup, place, scored[place], cost) for place, setup in enumerate(setups)]
        data += [{**trace, "xaxis": f"x{own}", "showlegend": number == 1} for trace in traces]
    rows = [_row(setup, run, value, best) for setup, found in zip(setups, scored, strict=True) for run, value in found]
    frame = {**layout(400 + below(len(setups)), axes), "annotations": titles, "legend": BELOW}
    columns = ("setup", "run", "seed", "average accuracy", *COSTS, "unbeaten in")
    return Figure(data, frame, 720, columns, rows)


def front(found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, score) those that no other beats: none costs no more and scores more, or costs less and as much.

    >>> front([(1, 0.5), (2, 0.4), (3, 0.9), (3, 0.8)])
    [(1, 0.5), (3, 0.9)]
    """
    kept, best = list[tuple[float, float]](), float("-inf")
    for cost, score in sorted(found, key=lambda pair: (pair[0], -pair[1])):
        if score > best:
            kept.append((cost, score))
            best = score
    return kept


def _front(unbeaten: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        **{"type": "scatter", "name": "unbeaten", "mode": "lines", "hoverinfo": "skip"},
        "x": [cost for cost, _ in unbeaten],
        "y": [percent(score) for _, score in unbeaten],
        "line": {"color": "#8A8A8A", "width": 1.5, "dash": "dot", "shape": "hv"},
    }


def _dots(
    setup: Setup, place: int, scored: Sequence[tuple[Record, float]], cost: Callable[[Record], float]
) -> dict[str, Any]:
    found = [(run, cost(run), value) for run, value in scored if cost(run) > 0]  # the axis is logarithmic
    return {
        **{"type": "scatter", "mode": "markers", "legendgroup": str(place), "hoverinfo": "text"},
        "name": label(setup.name, 44),
        "marker": {**marker(place), "size": 9, "opacity": 0.85},
        "x": [spent for _, spent, _ in found],
        "y": [percent(value) for _, _, value in found],
        "hovertext": [
            f"{label(setup.name, 60)}<br>{points(value)} % at {spent:,.0f}, seed {run.seed}<br>"
            f"{harmless(' → '.join(map(plain, order(run)[:5])))}"
            for run, spent, value in found
        ],
    }


def _row(setup: Setup, run: Record, value: float, best: dict[str, set[tuple[float, float]]]) -> tuple[Value, ...]:
    spent = {name: cost(run) for name, cost in COSTS.items()}
    unbeaten = ", ".join(name for name in COSTS if (spent[name], value) in best[name])
    return plain(setup.name), plain(run.id), run.seed, percent(value), *spent.values(), unbeaten


def _score(run: Record) -> float | None:
    return run.metrics[SCORE].value if SCORE in run.metrics else None
