"""The accuracy matrix of a run: as a heat map, and as curves over the stream."""

from __future__ import annotations

from typing import Any

from continual.report.draw import (
    BLUES,
    COLOURS,
    GREYS,
    SYMBOLS,
    Figure,
    Shown,
    bars,
    cells,
    harmless,
    label,
    layout,
    lines,
    maybe,
    names,
    percent,
    titled,
)
from continual.report.grid import Row, asked, plain, points, rows, scored
from continual.report.record import CellFacts, Record, TaskFacts

COLUMNS = ("after", "task", "score", "low", "high", "rows", "how")


def matrix(record: Record) -> Shown:
    """Heat map, row: after each task, column: on each task. Own cells blue; nearest-class-mean cells grey with ~."""
    table = rows(record)
    found = [cell for row in table for cell in row.cells if cell]
    if not found:
        return "No cell of the accuracy matrix has a score."
    low = min(10 * int(10 * scored(cell)) for cell in found)
    data = [_map(record, table, "own", BLUES, low), _map(record, table, "ncm", GREYS, low)]
    columns = [_asked(task) for task in record.tasks]
    axes = {
        "xaxis": {"side": "top", "range": [-0.5, len(columns) - 0.5], **names(columns, top=True)},
        "yaxis": lines([_moment(record, row.after) for row in table]),
    }
    frame = layout(44 * len(table) + 90, axes)
    missing = [(x, y) for y, row in enumerate(table) for x, cell in enumerate(row.cells) if cell is None]
    frame["annotations"] = [{"x": x, "y": y, "text": "–", "showarrow": False} for x, y in missing]
    return Figure(data, frame, 50 * len(columns) + 110, COLUMNS, [_line(record, cell) for cell in found])


def _map(record: Record, table: list[Row], how: str, scale: list[list[Any]], low: float) -> dict[str, Any]:
    """The cells that were answered in this way; "own", or any other."""
    grid = [[cell if cell and (cell.how == "own") == (how == "own") else None for cell in row.cells] for row in table]
    return {
        **cells(scale, low, 100),
        "z": [[cell and round(100 * scored(cell), 2) for cell in row] for row in grid],
        "text": [[_mark(cell) for cell in row] for row in grid],
        "hovertext": [[_hover(record, cell) for cell in row] for row in grid],
    }


def curves(record: Record) -> Shown:
    """Per task, accuracy after each task of the stream with its 95 % interval; open markers: not learned yet."""
    table = [row for row in rows(record) if any(row.cells)]
    if len(table) < 2:
        return "Curves need scores at two moments of the stream; this run has fewer."
    at = [row.after for row in table]
    all_alike = all(task.score == "accuracy" for task in record.tasks)
    axes = {
        "xaxis": {**names([_moment(record, after) for after in at]), "tickvals": at},
        "yaxis": {**titled("% of test rows" if all_alike else "points"), "zeroline": False},
    }
    data = [_curve(record, table, task) for task in range(len(record.tasks))]
    found = [_line(record, cell) for task in range(len(data)) for row in table if (cell := row.cells[task])]
    return Figure(data, layout(380, axes), 48 * len(at) + 80, COLUMNS, found)


def _curve(record: Record, table: list[Row], task: int) -> dict[str, Any]:
    found = [(row.after, cell) for row in table if (cell := row.cells[task])]
    count, colour, symbol = len(record.tasks), COLOURS[task % len(COLOURS)], SYMBOLS[task % len(SYMBOLS)]
    return {
        "type": "scatter",
        "name": _asked(record.tasks[task]),
        # Moved apart a little, or the intervals of several tasks hide each other.
        "x": [round(after + 0.3 * (task - (count - 1) / 2) / count, 3) for after, _ in found],
        "y": [percent(scored(cell)) for _, cell in found],
        "error_y": bars([(scored(cell), cell.low, cell.high) for _, cell in found], colour),
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2, "dash": "solid" if task < len(COLOURS) else "dot"},
        "marker": {
            "symbol": [symbol if cell.how == "own" else f"{symbol}-open" for _, cell in found],
            "size": 9,
            "color": colour,
        },
        "hovertext": [_hover(record, cell) for _, cell in found],
        "hoverinfo": "text",
    }


def _line(record: Record, cell: CellFacts) -> tuple[str, str, float | None, float | None, float | None, int, str]:
    task = record.tasks[cell.task]
    bounds = maybe(cell.score), maybe(cell.low), maybe(cell.high)
    return plain(_after(record, cell.after)), plain(asked(task)), *bounds, cell.n, cell.how


def _after(record: Record, after: int) -> str:
    return "before any task" if after < 0 else f"after {record.tasks[after].name}"


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
    how = "own module and head" if cell.how == "own" else "nearest class mean, not learned yet"
    unit = " %" if record.tasks[cell.task].score == "accuracy" else ""
    text = f"{asked(record.tasks[cell.task])}, {_after(record, cell.after)}: {points(cell.score)}{unit}"
    if cell.low is not None and cell.high is not None:
        text += f" ({points(cell.low)} to {points(cell.high)})"
    return f"{harmless(plain(text))}<br>{how}, {cell.n} rows"
