"""What a person reads of a run's metrics over orders of its tasks."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from continual.counterfactual import Orders, Spread
from continual.report.grid import plain, points, title

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
    console = console or Console()
    count = "all" if found.every else f"{found.orders:,} random"
    console.print(Text(f"run {plain(found.id)} · {count} orders of {len(found.tasks)} tasks", style="bold"))
    for note in found.notes:
        console.print(Text(f"note: {plain(note)}", style="yellow"))
    grid = _spreads("Metrics, points")
    for name in SHOWN:
        if name in found.metrics:
            _add(grid, title(name), found.metrics[name])
    console.print(grid)
    grid = _spreads("Score on the tasks so far")
    for stage, spread in enumerate(found.curve, 1):
        _add(grid, f"after {stage} task{'s' * (stage > 1)}", spread)
    console.print(grid)
    if found.given:
        _given(found, console)


def _spreads(first: str) -> Table:
    return _grid(first, "mean", "worst", "best", "deviation", "95 % of orders", "this run")


def _add(grid: Table, name: str, spread: Spread) -> None:
    low, high = spread.middle
    numbers = (spread.mean, spread.worst, spread.best, spread.deviation)
    grid.add_row(Text(name), *map(points, numbers), f"{points(low)} to {points(high)}", points(spread.run))


def _given(found: Orders, console: Console) -> None:
    """A column for each, with its number; which it is stands below."""
    numbers = range(1, len(found.given) + 1)
    grid = _grid("Orders asked for", *map(str, numbers))
    for name in SHOWN:
        if name in found.metrics:
            grid.add_row(Text(title(name)), *(points(one.metrics[name]) for one in found.given))
    console.print(grid)
    for number, one in zip(numbers, found.given, strict=True):
        console.print(Text(f"{number}  {', '.join(map(plain, one.order))}", overflow="fold"))


def _grid(first: str, *numbers: str) -> Table:
    grid = Table(box=None, padding=(1, 2, 0, 0), pad_edge=False, header_style="bold", collapse_padding=True)
    grid.add_column(Text(first), overflow="fold")
    for head in numbers:
        grid.add_column(Text(head), justify="right", no_wrap=True)
    return grid
