"""What a person reads of a board on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from continual.board.page import bounds, over
from continual.board.standings import Board
from continual.errors import counted
from continual.report.grid import plain, points, title
from continual.report.screen import screen


def show(board: Board, console: Console | None = None) -> None:
    """Print rows, published numbers in grey, and what is rejected; scores and differences in percent points."""
    console, rules = console or screen(), board.rules
    console.print(Text(f"{plain(rules.name)}: {plain(rules.asks)}", style="bold"))
    drawn = f"{counted(len(rules.seeds), 'seed')} × {counted(len(rules.orders), 'order')} of {plain(rules.stream)}"
    heading = f"{title(rules.formula().name)} of {counted(len(rules.jobs), 'run')} a row"
    console.print(Text(f"{heading} ({drawn})\n", style="dim"))
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column("rank", justify="right", no_wrap=True)
    grid.add_column("row", overflow="fold")
    grid.add_column("points", justify="right", no_wrap=True)
    grid.add_column("95 %", justify="right", no_wrap=True)
    grid.add_column("over the first row", overflow="fold")
    for standing in board.standings:
        rank = f"{'=' if standing.tie else ''}{standing.rank}"
        cells = (points(standing.score.mean), bounds(standing.score), over(standing.over))
        grid.add_row(rank, Text(standing.row.name), *map(Text, cells))
    for row in board.published:
        source = f"not run again here: {plain(row.source)}"
        grid.add_row("", *(Text(cell, style="dim") for cell in (plain(row.name), points(row.value), "", source)))
    console.print(grid if grid.row_count else Text("no row yet: continual board add"))
    for skip in board.rejected:
        console.print(Text(f"{plain(skip.path.as_posix())}: {plain(skip.why)}", style="red", overflow="fold"))
