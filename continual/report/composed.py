"""What composing did: its gains, and what each mixer attends to or lets through, layer by layer."""

from __future__ import annotations

from typing import Any

from continual.report.draw import (
    BLUES,
    COLOURS,
    Figure,
    Shown,
    bars,
    cells,
    heading,
    label,
    layout,
    lines,
    names,
    percent,
    titled,
)
from continual.report.grid import plain, points
from continual.report.record import Gain, Record, Weights

OVER = {"single": "over the single module", "head": "over the head alone"}


def gains(record: Record) -> Shown:
    """Score of each composition minus that of the single module and of the head alone, with its 95 % interval."""
    if not record.gains:
        return "No composition was compared with a single module in this run."
    order = list(dict.fromkeys((gain.composition, gain.task) for gain in record.gains))
    data = []
    for versus, colour, shift, symbol in (
        ("single", COLOURS[0], -0.12, "circle"),
        ("head", COLOURS[1], 0.12, "diamond"),
    ):
        found = [gain for gain in record.gains if gain.versus == versus]
        data.append(
            {
                "type": "scatter",
                "name": OVER[versus],
                "x": [percent(gain.gain) for gain in found],
                "y": [order.index((gain.composition, gain.task)) + shift for gain in found],
                "error_x": bars([(gain.gain, gain.low, gain.high) for gain in found], colour),
                "mode": "markers",
                "marker": {"size": 10, "color": colour, "symbol": symbol},
                "hovertext": [_gain(gain) for gain in found],
                "hoverinfo": "text",
            }
        )
    axes = {
        "xaxis": {**titled("points"), "zeroline": True},
        "yaxis": lines([f"{label(name)} on {label(task)}" for name, task in order]),
    }
    columns = ("composition", "task", "against", "score", "reference", "gain", "low", "high", "rows")
    return Figure(data, layout(56 * len(order) + 120, axes), 320, columns, [_line(gain) for gain in record.gains])


def _line(gain: Gain) -> tuple[str | float, ...]:
    values = (percent(value) for value in (gain.score, gain.reference, gain.gain, gain.low, gain.high))
    return plain(gain.composition), plain(gain.task), gain.versus, *values, gain.n


def _gain(gain: Gain) -> str:
    return (
        f"{label(gain.composition, 60)} on {label(gain.task, 60)}<br>{points(gain.score)} against "
        f"{points(gain.reference)}: {points(gain.gain, True)} ({points(gain.low, True)} to {points(gain.high, True)}), "
        f"{gain.n} rows"
    )


def attention(record: Record) -> Shown:
    """Fusion: mean attention weight of each module (columns) in each layer (rows), one heat map per composition."""
    return _weights(record, "attention") or "No composition of this run attends over modules."


def gates(record: Record) -> Shown:
    """UniPELT: mean gate of each submodule (columns) in each layer (rows), one heat map per composition."""
    return _weights(record, "gate") or "No composition of this run has gates."


def _weights(record: Record, kind: str) -> Figure | None:
    """One heat map under the other; columns are (site, member), the site named only where there is more than one."""
    found = [weight for weight in record.weights if weight.kind == kind]
    if not found:
        return None
    compositions = list(dict.fromkeys(weight.composition for weight in found))
    parts = [_by_layer([w for w in found if w.composition == composition]) for composition in compositions]
    gap, tall, start = 0.28 / len(parts), sum(len(layers) for _, layers, _ in parts), 1.0
    data, axes, titles = list[dict[str, Any]](), dict[str, dict[str, Any]](), []
    for number, (composition, (columns, layers, values)) in enumerate(zip(compositions, parts, strict=True), 1):
        end = max(0.0, start - (1 - gap * (len(parts) - 1)) * len(layers) / tall)
        own = "" if number == 1 else str(number)
        data.append({**_map(columns, layers, values), "xaxis": f"x{own}", "yaxis": f"y{own}"})
        axes[f"xaxis{own}"] = {**names(columns), "anchor": f"y{own}"}
        axes[f"yaxis{own}"] = {
            **lines([f"layer {layer}" for layer in layers]),
            "domain": [end, start],
            "anchor": f"x{own}",
        }
        titles.append(heading(label(composition, 60), 0.5, start))
        start = end - gap
    frame = layout(sum(28 * len(layers) + 100 for _, layers, _ in parts), axes)
    width = max(len(columns) for columns, _, _ in parts)
    table = [
        (plain(weight.composition), weight.layer, plain(weight.site), plain(member), round(mean, 4))
        for weight in found
        for member, mean in zip(weight.members, weight.mean, strict=True)
    ]
    columns = ("composition", "layer", "site", "module", "mean weight" if kind == "attention" else "mean gate")
    return Figure(data, {**frame, "annotations": titles}, 50 * width + 80, columns, table)


def _map(columns: list[str], layers: list[int], values: list[list[float | None]]) -> dict[str, Any]:
    return {
        **cells(BLUES, 0, 1),
        "z": [[None if value is None else round(value, 4) for value in means] for means in values],
        "text": [["" if value is None else f"{value:.2f}" for value in means] for means in values],
        "hovertext": [[f"layer {layer}, {column}" for column in columns] for layer in layers],
    }


def _by_layer(weights: list[Weights]) -> tuple[list[str], list[int], list[list[float | None]]]:
    """Columns, layers and their table of means; None where a layer has no such site."""
    layers = sorted({weight.layer for weight in weights})
    keys = list(dict.fromkeys((weight.site, member) for weight in weights for member in weight.members))
    at = {
        (weight.layer, weight.site, member): mean
        for weight in weights
        for member, mean in zip(weight.members, weight.mean, strict=True)
    }
    several = len({site for site, _ in keys}) > 1
    columns = [f"{label(member)}<br>{label(site)}" if several else label(member) for site, member in keys]
    return columns, layers, [[at.get((layer, *key)) for key in keys] for layer in layers]
