"""What a person reads of a run's metrics over orders of its tasks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from continual.counterfactual import Orders, Spread
from continual.errors import counted
from continual.report.grid import plain, points, title
from continual.report.screen import screen

SHOWN = (
    "average_accuracy",
    "average_incremental_accuracy_macro",
    "area_under_curve",
    "learning_accuracy",
    "backward_transfer",
    "forgetting",
    "forward_transfer",
    "forward_transfer_all_pairs",
    "worst_case_accuracy",
)
"""The metrics that people look at first; orders.json has the others."""


def show(found: Orders, console: Console | None = None) -> None:
    """Print the spread of metrics and curve, then each order that was asked for by itself; in percent points."""
    console = console or screen()
    count = "all" if found.every else f"{found.orders:,} random"
    console.print(Text(f"run {plain(found.id)} · {count} orders of {counted(len(found.tasks), 'task')}", style="bold"))
    for note in found.notes:
        console.print(Text(f"note: {plain(note)}", style="yellow"))
    shown = [(title(name), found.metrics[name]) for name in SHOWN if name in found.metrics]
    _spreads("Metrics, points", shown, console)
    curve = [(f"after {counted(stage, 'task')}", spread) for stage, spread in enumerate(found.curve, 1)]
    _spreads("Mean score on the tasks so far, points", curve, console)
    if found.given:
        _given(found, console)


def _spreads(heading: str, rows: Sequence[tuple[str, Spread]], console: Console) -> None:
    console.print(Text(f"\n{heading}", style="bold"))
    grid = _grid("", "mean", "worst", "best", "deviation", "95 % of orders", "this run")
    for name, spread in rows:
        numbers = map(points, (spread.mean, spread.worst, spread.best, spread.deviation))
        middle = " to ".join(map(points, spread.middle))
        grid.add_row(Text(name), *numbers, middle, points(spread.run))
    console.print(grid)


def _given(found: Orders, console: Console) -> None:
    """A column for each, with its number; which it is stands below."""
    numbers = range(1, len(found.given) + 1)
    console.print(Text("\nOrders that were asked for, points", style="bold"))
    grid = _grid("", *map(str, numbers))
    for name in SHOWN:
        if name in found.metrics:
            grid.add_row(Text(title(name)), *(points(one.metrics[name]) for one in found.given))
    console.print(grid)
    for number, one in zip(numbers, found.given, strict=True):
        console.print(Text(f"{number}  {', '.join(map(plain, one.order))}", overflow="fold"))


def _grid(first: str, *numbers: str) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column(Text(first), overflow="fold")
    for head in numbers:
        grid.add_column(Text(head), justify="right", no_wrap=True)
    return grid
