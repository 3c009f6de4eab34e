"""The losses of what is being learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from continual.report.draw import COLOURS, Figure, label, layout, titled
from continual.report.grid import plain


def losses(found: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """A line for each training, which is named by what it learns: loss by step."""
    data = [
        {
            **{"type": "scatter", "mode": "lines", "name": label(name, 40), "showlegend": True},
            "x": [step for step, _ in points],
            "y": [loss for _, loss in points],
            "line": {"color": COLOURS[number % len(COLOURS)], "width": 2},
        }
        for number, (name, points) in enumerate(found.items())
    ]
    axes = {"xaxis": {**titled("step"), "zeroline": False}, "yaxis": {**titled("loss"), "rangemode": "tozero"}}
    rows = [(plain(name), step, loss) for name, points in found.items() for step, loss in points]
    return Figure(data, layout(280, axes), 320, ("training", "step", "loss"), rows)
