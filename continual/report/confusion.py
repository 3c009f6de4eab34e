"""Where a router sent the rows of each task, once all were learned."""

from __future__ import annotations

from continual.report.draw import BLUES, Figure, Shown, cells, harmless, label, layout, lines, names, percent
from continual.report.grid import plain
from continual.report.record import Record


def confusion(record: Record) -> Shown:
    """Heat map, row: whose rows, column: the likeliest task; in % of the row."""
    if record.routing is None:
        return "The task of every row was given in this run: it has no router."
    table = record.routing.confusion
    if not table:
        return "This record is of before routes were counted task by task."
    tasks = [record.tasks[index].name for index in record.routing.tasks]
    shares = [[percent(count / max(1, sum(row))) for count in row] for row in table]
    heat = {
        **cells(BLUES, 0, 100),
        "z": shares,
        "text": [[f"{share:.1f}" if share else "" for share in row] for row in shares],
        "hovertext": [
            [
                harmless(f"{count} of {sum(row)} rows of {plain(own)} to {plain(to)}")
                for to, count in zip(tasks, row, strict=True)
            ]
            for own, row in zip(tasks, table, strict=True)
        ],
    }
    labels = [label(name) for name in tasks]
    axes = {
        "xaxis": {"side": "top", "range": [-0.5, len(tasks) - 0.5], **names(labels, top=True)},
        "yaxis": lines([f"of {name}" for name in labels]),
    }
    rows = [
        (plain(own), plain(to), count, share)
        for own, counts, line in zip(tasks, table, shares, strict=True)
        for to, count, share in zip(tasks, counts, line, strict=True)
    ]
    columns = ("rows of", "routed to", "rows", "share")
    return Figure([heat], layout(44 * len(tasks) + 90, axes), 50 * len(tasks) + 110, columns, rows)
