"""How runs of one stream differ: the setups' forgetting and transfer, and what order and seed do within a setup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from continual.errors import counted
from continual.report.draw import (
    BELOW,
    COLOURS,
    Figure,
    Shown,
    Value,
    below,
    harmless,
    heading,
    label,
    layout,
    lines,
    marker,
    maybe,
    names,
    percent,
    spans,
    titled,
)
from continual.report.grid import plain, points, title
from continual.report.setups import Drawn, Setup
from continual.uncertainty import Interval, interval

TRANSFERS = ("forgetting", "backward_transfer", "forward_transfer")
SPREAD = ("average_accuracy", "forgetting", "backward_transfer")
SUMMARY = ("setup", "metric", "runs", "mean", "low", "high", "least", "most")
PATTERNS = ("", "/", "x")  # where there are more setups than colours
WIDE = 44  # characters of a setup's name


def transfers(setups: Sequence[Setup]) -> Shown:
    """Forgetting and transfer of each setup, the mean over its seeds and orders with a 95 % interval."""
    several = [setup for setup in setups if any(setup.values(name) for name in TRANSFERS)]
    if not several:
        return "No finished run of this stream has a forgetting or a transfer: they take two tasks."
    data = [_bars(setup, place) for place, setup in enumerate(several)]
    axes = {"xaxis": names([title(name) for name in TRANSFERS]), "yaxis": {**titled("points"), "zeroline": True}}
    frame = {**layout(380 + below(len(several)), axes), "legend": BELOW}
    rows = [_row(setup, name) for setup in several for name in TRANSFERS]
    return Figure(data, frame, 520, SUMMARY, rows)


def _bars(setup: Setup, place: int) -> dict[str, Any]:
    found = {name: setup.values(name) for name in TRANSFERS}
    means = {name: sum(own.values()) / len(own) if own else None for name, own in found.items()}
    around = {name: interval(own) for name, own in found.items()}
    halves = [percent(bounds.high - bounds.mean) if bounds else 0 for bounds in around.values()]
    shape = PATTERNS[place // len(COLOURS) % len(PATTERNS)]
    return {
        **{"type": "bar", "hoverinfo": "text", "x": list(range(len(TRANSFERS)))},
        "name": f"{label(setup.name, WIDE)} ({len(setup.runs)})",
        "y": [maybe(mean) for mean in means.values()],
        "error_y": {"type": "data", "array": halves, "thickness": 1.5, "width": 3, "color": "#8A8A8A"},
        "marker": {"color": COLOURS[place % len(COLOURS)], "pattern": {"shape": shape}},
        "hovertext": [_said(setup, name, mean, around[name], len(found[name])) for name, mean in means.items()],
    }


def sensitivity(setups: Sequence[Setup]) -> Shown:
    """Each run of each setup as a dot, those of one setup in a line: how far order and seed move its metrics."""
    several = [setup for setup in setups if len(setup.values(SPREAD[0])) > 1]
    if not several:
        return "Sensitivity needs two runs that differ in seed or order only; this stream has none."
    orders = list(dict.fromkeys(tasks for setup in several for _, tasks in setup.values(SPREAD[0])))
    data, titles = list[dict[str, Any]](), []
    axes: dict[str, dict[str, Any]] = {"yaxis": lines([label(setup.name, WIDE) for setup in several])}
    for number, (metric, span) in enumerate(zip(SPREAD, spans(len(SPREAD), 0.05), strict=True), 1):
        own = "" if number == 1 else str(number)
        axes[f"xaxis{own}"] = {"domain": span, "nticks": 5, "zeroline": number > 1}
        titles.append(heading(f"{title(metric)}, {'%' if number == 1 else 'points'}", sum(span) / 2, 1))
        traces = [_dots(several, metric, tasks, place) for place, tasks in enumerate(orders)]
        data += [{**trace, "xaxis": f"x{own}", "showlegend": number == 1 < len(orders)} for trace in traces]
    frame = {**layout(34 * len(several) + 130 + below(len(orders)), axes), "annotations": titles, "legend": BELOW}
    return Figure(data, frame, 720, SUMMARY, [_row(setup, metric) for setup in several for metric in SPREAD])


def _dots(setups: Sequence[Setup], metric: str, tasks: tuple[str, ...], place: int) -> dict[str, Any]:
    """The runs in one order; of all setups."""
    found = [
        (row, value, seed)
        for row, setup in enumerate(setups)
        for (seed, own), value in setup.values(metric).items()
        if own == tasks
    ]
    said = harmless(" → ".join(map(plain, tasks[:5])) + (" → …" if len(tasks) > 5 else ""))
    return {
        **{"type": "scatter", "mode": "markers", "name": f"order {place + 1}", "legendgroup": str(place)},
        "x": [percent(value) for _, value, _ in found],
        "y": [row for row, _, _ in found],
        "marker": {**marker(place), "size": 10, "opacity": 0.75},
        "hovertext": [f"{points(value)}, seed {seed}<br>{said}" for _, value, seed in found],
        "hoverinfo": "text",
    }


def _row(setup: Setup, metric: str) -> tuple[Value, ...]:
    found: Mapping[Drawn, float] = setup.values(metric)
    values, around = list(found.values()), interval(found)
    if not values:
        return plain(setup.name), metric, 0, None, None, None, None, None
    bounds = (percent(around.low), percent(around.high)) if around else (None, None)
    ends = percent(min(values)), percent(max(values))
    return plain(setup.name), metric, len(values), percent(sum(values) / len(values)), *bounds, *ends


def _said(setup: Setup, metric: str, mean: float | None, around: Interval | None, runs: int) -> str:
    bounds = f" ({points(around.low, True)} to {points(around.high, True)})" if around else ", no interval"
    return f"{label(setup.name, 60)}<br>{title(metric)}: {points(mean, True)}{bounds}, {counted(runs, 'run')}"
