"""Figures of one record. Each is a pure function: a plotly figure, or the sentence that says why there is none.

Scores are in percent, differences of scores in points. Names enter plotly only through ``label`` and ``harmless``:
plotly reads a little HTML, and templates, in its texts.
"""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from continual.report.draw import (
    BLUES,
    COLOURS,
    GREYS,
    SYMBOLS,
    bars,
    cells,
    harmless,
    label,
    lines,
    names,
    sized,
)
from continual.report.grid import asked, plain, points, rows, score, scored
from continual.report.record import CellFacts, Gain, Record, TaskFacts, Weights

Shown = go.Figure | str


def matrix(record: Record) -> Shown:
    """Heat map, row: after each task, column: on each task. Own cells blue; nearest-class-mean cells grey with ~."""
    table = rows(record)
    found = [cell for row in table for cell in row.cells if cell]
    if not found:
        return "No cell of the accuracy matrix has a score."
    low = min(10 * int(10 * scored(cell)) for cell in found)
    figure = go.Figure()
    for how, scale in (("own", BLUES), ("ncm", GREYS)):
        grid = [
            [cell if cell and (cell.how == "own") == (how == "own") else None for cell in row.cells] for row in table
        ]
        figure.add_heatmap(
            z=[[cell and round(100 * scored(cell), 2) for cell in row] for row in grid],
            text=[[_mark(cell) for cell in row] for row in grid],
            hovertext=[[_hover(record, cell) for cell in row] for row in grid],
            **cells(scale, low, 100),
        )
    missing = [(x, y) for y, row in enumerate(table) for x, cell in enumerate(row.cells) if cell is None]
    # All at once: one by one, each copies those before it, in time that grows with the fourth power of the tasks.
    figure.update_layout(annotations=[{"x": x, "y": y, "text": "–", "showarrow": False} for x, y in missing])
    columns = [_asked(task) for task in record.tasks]
    figure.update_xaxes(side="top", range=[-0.5, len(columns) - 0.5], **names(columns, top=True))
    figure.update_yaxes(**lines([_moment(record, row.after) for row in table]))
    return sized(figure, 44 * len(table) + 90, 50 * len(columns) + 110)


def curves(record: Record) -> Shown:
    """Per task, accuracy after each task of the stream with its 95 % interval; open markers: not learned yet."""
    table = [row for row in rows(record) if any(row.cells)]
    if len(table) < 2:
        return "Curves need scores at two moments of the stream; this run has fewer."
    figure, count = go.Figure(), len(record.tasks)
    for task, facts in enumerate(record.tasks):
        found = [(row.after, cell) for row in table if (cell := row.cells[task])]
        own = [cell.how == "own" for _, cell in found]
        colour = COLOURS[task % len(COLOURS)]
        figure.add_scatter(
            name=_asked(facts),
            # Moved apart a little, or the intervals of several tasks hide each other.
            x=[after + 0.3 * (task - (count - 1) / 2) / count for after, _ in found],
            y=[100 * scored(cell) for _, cell in found],
            error_y=bars([(scored(cell), cell.low, cell.high) for _, cell in found], colour),
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": "solid" if task < len(COLOURS) else "dot"},
            marker={
                "symbol": [SYMBOLS[task % len(SYMBOLS)] + ("" if mine else "-open") for mine in own],
                "size": 9,
                "color": colour,
            },
            hovertext=[_hover(record, cell) for _, cell in found],
            hoverinfo="text",
        )
    at = [row.after for row in table]
    figure.update_xaxes(**names([_moment(record, after) for after in at]))
    figure.update_xaxes(tickvals=at)
    figure.update_yaxes(
        title="% of test rows" if all(t.score == "accuracy" for t in record.tasks) else "points", zeroline=False
    )
    return sized(figure, 380, 48 * len(at) + 80)


def transfer(record: Record) -> Shown:
    """Per task, R[T-1][i] - R[i][i] (backward) and R[i-1][i] - b_i (forward), in points."""
    last = len(record.tasks) - 1
    if last < 1:
        return "Transfer is between tasks; this stream has one."
    pairs = {
        "backward": [
            _minus(score(record, last, task), score(record, task, task)) if task < last else None
            for task in range(last + 1)
        ],
        "forward": [
            _minus(score(record, task - 1, task), score(record, -1, task)) if task else None for task in range(last + 1)
        ],
    }
    if all(value is None for values in pairs.values() for value in values):
        return "The cells that transfer is computed from are missing."
    figure = go.Figure()
    for (name, values), colour in zip(pairs.items(), COLOURS, strict=False):
        figure.add_bar(
            name=name,
            x=list(range(last + 1)),
            y=[None if value is None else 100 * value for value in values],
            text=["" if value is None else points(value, sign=True) for value in values],
            textposition="outside",
            cliponaxis=False,
            marker_color=colour,
            hovertext=[harmless(f"{plain(task.name)}, {name}") for task in record.tasks],
            hoverinfo="text+y",
        )
    figure.update_xaxes(**names([label(task.name) for task in record.tasks]))
    figure.update_yaxes(title="points", zeroline=True)
    return sized(figure, 340, 54 * (last + 1) + 80)


def attention(record: Record) -> Shown:
    """Fusion: mean attention weight of each module (columns) in each layer (rows), one heat map per composition."""
    return _weights(record, "attention") or "No composition of this run attends over modules."


def gates(record: Record) -> Shown:
    """UniPELT: mean gate of each submodule (columns) in each layer (rows), one heat map per composition."""
    return _weights(record, "gate") or "No composition of this run has gates."


def gains(record: Record) -> Shown:
    """Score of each composition minus that of the single module and of the head alone, with its 95 % interval."""
    if not record.gains:
        return "No composition was compared with a single module in this run."
    figure = go.Figure()
    order = list(dict.fromkeys((gain.composition, gain.task) for gain in record.gains))
    for versus, colour, shift in (("single", COLOURS[0], -0.12), ("head", COLOURS[1], 0.12)):
        found = [gain for gain in record.gains if gain.versus == versus]
        figure.add_scatter(
            name={"single": "over the single module", "head": "over the head alone"}[versus],
            x=[100 * gain.gain for gain in found],
            y=[order.index((gain.composition, gain.task)) + shift for gain in found],
            error_x=bars([(gain.gain, gain.low, gain.high) for gain in found], colour),
            mode="markers",
            marker={"size": 10, "color": colour, "symbol": "circle" if versus == "single" else "diamond"},
            hovertext=[_gain(gain) for gain in found],
            hoverinfo="text",
        )
    figure.update_xaxes(title="points", zeroline=True)
    figure.update_yaxes(**lines([f"{label(name)} on {label(task)}" for name, task in order]))
    return sized(figure, 56 * len(order) + 120, 320)


def costs(record: Record) -> Shown:
    """Per stored module: trained parameters, bytes on disk, seconds of training."""
    if not record.modules:
        return "This run stored no module."
    panels = {
        "trained parameters": [module.trainable for module in record.modules],
        "bytes on disk": [module.bytes for module in record.modules],
        "seconds": [module.seconds for module in record.modules],
    }
    figure = make_subplots(rows=1, cols=3, shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=list(panels))
    for column, values in enumerate(panels.values(), 1):
        figure.add_bar(
            x=values,
            y=list(range(len(record.modules))),
            orientation="h",
            marker_color=COLOURS[0],
            texttemplate="%{x:.3s}",
            textposition="auto",
            hovertemplate="%{x:,}<extra></extra>",
            showlegend=False,
            row=1,
            col=column,
        )
    figure.update_xaxes(nticks=4, rangemode="tozero", zeroline=False)
    # The stream is the same for all, and a name that is cut must not lose what tells it apart.
    figure.update_yaxes(**lines([f"{label(module.task)} · {label(module.method)}" for module in record.modules]))
    return sized(figure, 30 * len(record.modules) + 110, 620)


FIGURES: dict[str, Callable[[Record], Shown]] = {
    "matrix": matrix,
    "curves": curves,
    "transfer": transfer,
    "gains": gains,
    "attention": attention,
    "gates": gates,
    "costs": costs,
}


def _weights(record: Record, kind: str) -> go.Figure | None:
    """One heat map under the other; columns are (site, member), the site named only where there is more than one."""
    found = [weight for weight in record.weights if weight.kind == kind]
    if not found:
        return None
    compositions = list(dict.fromkeys(weight.composition for weight in found))
    parts = [_by_layer([w for w in found if w.composition == composition]) for composition in compositions]
    figure = make_subplots(
        rows=len(parts),
        cols=1,
        subplot_titles=[label(composition, 60) for composition in compositions],
        row_heights=[len(layers) for _, layers, _ in parts],
        vertical_spacing=0.28 / len(parts),
    )
    for row, (columns, layers, values) in enumerate(parts, 1):
        figure.add_heatmap(
            z=values,
            text=[["" if value is None else f"{value:.2f}" for value in means] for means in values],
            hovertext=[[f"layer {layer}, {column}" for column in columns] for layer in layers],
            **cells(BLUES, 0, 1),
            row=row,
            col=1,
        )
        figure.update_xaxes(**names(columns), row=row, col=1)
        figure.update_yaxes(**lines([f"layer {layer}" for layer in layers]), row=row, col=1)
    width = max(len(columns) for columns, _, _ in parts)
    return sized(figure, sum(28 * len(layers) + 100 for _, layers, _ in parts), 50 * width + 80)


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


def _moment(record: Record, after: int) -> str:
    return "before any" if after < 0 else f"after {label(record.tasks[after].name)}"


def _asked(task: TaskFacts) -> str:
    """A task's name, and below it its score where that is not the accuracy."""
    return label(task.name) if task.score == "accuracy" else f"{label(task.name)}<br>{label(task.score)}"


def _mark(cell: CellFacts | None) -> str:
    if cell is None:
        return ""
    return points(cell.score) if cell.how == "own" else f"~{points(cell.score)}"


def _hover(record: Record, cell: CellFacts | None) -> str:
    if cell is None:
        return ""
    moment = "before any task" if cell.after < 0 else f"after {plain(record.tasks[cell.after].name)}"
    how = "own module and head" if cell.how == "own" else "nearest class mean, not learned yet"
    unit = " %" if record.tasks[cell.task].score == "accuracy" else ""
    text = f"{plain(asked(record.tasks[cell.task]))}, {moment}: {points(cell.score)}{unit}"
    if cell.low is not None and cell.high is not None:
        text += f" ({points(cell.low)} to {points(cell.high)})"
    return f"{harmless(text)}<br>{how}, {cell.n} rows"


def _gain(gain: Gain) -> str:
    return (
        f"{label(gain.composition, 60)} on {label(gain.task, 60)}<br>{points(gain.score)} against "
        f"{points(gain.reference)}: {points(gain.gain, True)} ({points(gain.low, True)} to {points(gain.high, True)}), "
        f"{gain.n} rows"
    )


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
