"""What tasks do to each other: forward and backward transfer of each, and the graph of who helps or hurts whom."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from continual.report.draw import COLOURS, Figure, Shown, harmless, label, layout, maybe, names, percent, titled
from continual.report.grid import Row, plain, points, rows
from continual.report.record import Record

DRAWN = 30  # arrows: more than that nobody reads; the table has all
LEAST = 0.001  # a tenth of a point: what is less is no arrow


class Effect(NamedTuple):
    """R[i,j] - R[i-1,j], i ≠ j: what learning task ``of`` did to the score on task ``on``."""

    of: int
    on: int
    change: float


def transfer(record: Record) -> Shown:
    """Per task, R[T-1][i] - R[i][i] (backward) and R[i-1][i] - b_i (forward), in points."""
    count = len(record.tasks)
    if count < 2:
        return "Transfer is between tasks; this stream has one."
    table = rows(record)
    pairs = {
        "backward": [
            _less(table, (count, task), (task + 1, task)) if task < count - 1 else None for task in range(count)
        ],
        "forward": [_less(table, (task, task), (0, task)) if task else None for task in range(count)],
    }
    if all(value is None for values in pairs.values() for value in values):
        return "The cells that transfer is computed from are missing."
    data = [_bars(record, name, values, colour) for (name, values), colour in zip(pairs.items(), COLOURS, strict=False)]
    axes = {
        "xaxis": names([label(task.name) for task in record.tasks]),
        "yaxis": {**titled("points"), "zeroline": True},
    }
    found = [
        (plain(task.name), *(maybe(values[number]) for values in pairs.values()))
        for number, task in enumerate(record.tasks)
    ]
    return Figure(data, layout(340, axes), 54 * count + 80, ("task", *pairs), found)


def _bars(record: Record, name: str, values: list[float | None], colour: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": name,
        "x": list(range(len(values))),
        "y": [maybe(value) for value in values],
        "text": ["" if value is None else points(value, sign=True) for value in values],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": colour},
        "hovertext": [harmless(f"{plain(task.name)}, {name}") for task in record.tasks],
        "hoverinfo": "text+y",
    }


def graph(record: Record) -> Shown:
    """Tasks on a circle, in the order of the stream; an arrow from i to j for R[i,j] - R[i-1,j], the strongest only."""
    if len(record.tasks) < 2:
        return "A transfer graph is between tasks; this stream has one."
    found = effects(record)
    if not found:
        return "The cells that the transfer graph is computed from are missing."
    drawn = sorted((e for e in found if abs(e.change) >= LEAST), key=lambda e: -abs(e.change))[:DRAWN]
    if not drawn:
        return "Learning one task changed no score of another by a tenth of a point."
    hidden = {"visible": False, "range": [-2.2, 2.2]}  # names have their place beside the circle
    frame = layout(360, {"xaxis": hidden, "yaxis": {**hidden, "scaleanchor": "x", "range": [-1.25, 1.25]}})
    most = abs(drawn[0].change)
    frame["annotations"] = [_arrow(record, effect, most) for effect in reversed(drawn)]  # the strongest on top
    frame["margin"]["t"] = 8
    named = [plain(task.name) for task in record.tasks]
    table = [(named[effect.of], named[effect.on], percent(effect.change)) for effect in found]
    return Figure([_nodes(record)], frame, 420, ("learning", "changed", "points"), table)


def effects(record: Record) -> list[Effect]:
    """Of all pairs whose cells are there, and are answered in the same way."""
    table, found = rows(record), []
    for of in range(len(record.tasks)):
        for on in range(len(record.tasks)):
            after, before = table[of + 1].cells[on], table[of].cells[on]
            if of != on and after and before and after.how == before.how:
                found.append(Effect(of, on, after.score - before.score))  # type: ignore[operator]
    return found


def _place(number: int, count: int) -> tuple[float, float]:
    """Clockwise from the top."""
    angle = math.pi / 2 - 2 * math.pi * number / count
    return math.cos(angle), math.sin(angle)


def _nodes(record: Record) -> dict[str, Any]:
    places = [_place(number, len(record.tasks)) for number in range(len(record.tasks))]
    return {
        "type": "scatter",
        "x": [round(x, 4) for x, _ in places],
        "y": [round(y, 4) for _, y in places],
        "text": [f" {number}. {label(task.name)} " for number, task in enumerate(record.tasks, 1)],
        "textposition": [_side(x, y) for x, y in places],
        "hovertext": [harmless(plain(task.name)) for task in record.tasks],
        "hoverinfo": "text",
        "mode": "markers+text",
        "marker": {"size": 9, "color": "#8A8A8A"},
        "showlegend": False,
        "cliponaxis": False,
    }


def _side(x: float, y: float) -> str:
    """Where a name stands: outside of the circle."""
    if abs(x) < 0.2:
        return "top center" if y > 0 else "bottom center"
    return "middle right" if x > 0 else "middle left"


def _arrow(record: Record, effect: Effect, most: float) -> dict[str, Any]:
    """A little to the right of the line between the two, so that an arrow back has its own place."""
    count = len(record.tasks)
    (x, y), (to_x, to_y) = _place(effect.of, count), _place(effect.on, count)
    length = math.hypot(to_x - x, to_y - y)
    right_x, right_y = 0.03 * (to_y - y) / length, -0.03 * (to_x - x) / length
    share = abs(effect.change) / most
    of, on = (plain(record.tasks[task].name) for task in (effect.of, effect.on))
    where = {"x": to_x + right_x, "y": to_y + right_y, "ax": x + right_x, "ay": y + right_y}
    return {
        **{key: round(value, 4) for key, value in where.items()},
        **{"xref": "x", "yref": "y", "axref": "x", "ayref": "y", "text": "", "arrowhead": 2, "standoff": 5},
        "arrowwidth": round(1 + 3 * share, 2),
        "arrowsize": round(1 - 0.3 * share, 2),
        "arrowcolor": COLOURS[0] if effect.change > 0 else COLOURS[1],
        "opacity": round(0.45 + 0.55 * share, 2),
        "hovertext": harmless(f"learning {of}: {points(effect.change, True)} on {on}"),
    }


def _less(table: list[Row], one: tuple[int, int], other: tuple[int, int]) -> float | None:
    """R at one (row of the table, task), less R at the other."""
    a, b = table[one[0]].cells[one[1]], table[other[0]].cells[other[1]]
    return None if not a or not b or a.score is None or b.score is None else a.score - b.score
