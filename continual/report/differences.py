"""Two runs, one minus the other, as a person reads it on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from continual.errors import counted
from continual.report.grid import MISSING, asked, plain, points
from continual.report.record import Record
from continual.report.screen import room, screen
from continual.report.versus import LEVEL, Difference, Versus

WIDTH = len("+100.0*")
GAP = 2


def show(found: Versus, console: Console | None = None) -> None:
    """Print the matrix of differences, the last row with its tests, and the compositions that both runs have."""
    console = console or screen()
    last = len(found.ours.tasks)
    console.print(Text(f"A  {_named(found.ours)}\nB  {_named(found.theirs)}", style="bold"))
    for warning in _warnings(found):
        console.print(Text(f"note: {warning}", style="yellow"))
    learned = [cell for cell in found.cells if cell.place.stage in ("zero", "learn")]
    _matrix(found, learned, console)
    rest = [cell for cell in found.cells if cell.place.stage not in ("zero", "learn")]
    final = [cell for cell in learned if cell.after == last]
    _tests("After the last task, points", final, found.mean, console)
    _tests("Compositions, points", rest, None, console, staged=True)
    console.print(Text(f"\n{_tested(found)} One run each: seeds and orders are not in them.", style="dim"))


def _tested(found: Versus) -> str:
    """What the marks and intervals mean; where there is nothing to test, why."""
    if found.tests:
        tests = counted(found.tests, "test")
        return f"* more than chance on these rows: p < {LEVEL:g} by Holm over {tests}; 95 % intervals over rows."
    if any(cell.low is not None for cell in found.cells):
        return "No cell differs in any row, so there is nothing to test; 95 % intervals over rows."
    return "No cell has rows that can be paired, so nothing is tested."


def _named(record: Record) -> str:
    what = f"{record.stream} · {record.strategy} · {record.method} on {record.encoder.name} · seed {record.seed}"
    return plain(f"{what} · run {record.id}")


def _warnings(found: Versus) -> list[str]:
    """What makes the comparison another than it seems."""
    ours, theirs = found.ours, found.theirs
    said = []
    if ours.id == theirs.id:
        said.append("both are the same run")
    if ours.encoder.fingerprint != theirs.encoder.fingerprint:
        said.append("the encoders are not the same")
    if [task.name for task in ours.tasks] != [task.name for task in theirs.tasks]:
        said.append("the tasks or their order differ: only moments at which the same tasks were learned are compared")
    if ours.scenario != theirs.scenario:
        said.append(f"the scenarios differ: {plain(ours.scenario)} and {plain(theirs.scenario)}")
    if ours.code != theirs.code:
        said.append("the runs were made by different versions of the package")
    return said + sorted({f"some cells have no interval: {cell.why}" for cell in found.cells if cell.why})


def _matrix(found: Versus, cells: Sequence[Difference], console: Console) -> None:
    """A minus B at each moment (rows) on each task (columns, by number), as many columns as the width takes."""
    tasks = [task.name for task in found.ours.tasks]
    at = {(cell.after, cell.place.task): cell for cell in cells}
    moments = sorted({cell.after for cell in cells})
    console.print(Text("\nA − B, points", style="bold"))
    fit = max(1, (room(console) - len("before any")) // (GAP + WIDTH))
    for start in range(0, len(tasks), fit):
        some = range(start, min(start + fit, len(tasks)))
        grid = _grid("", *(str(column + 1) for column in some))
        for after in moments:
            name = f"after {after}" if after else "before any"
            grid.add_row(name, *(_mark(at.get((after, tasks[column]))) for column in some))
        console.print(grid)
    legend = "   ".join(f"{number}\u00a0{plain(asked(task))}" for number, task in enumerate(found.ours.tasks, 1))
    console.print(Text(legend, overflow="fold"))


def _mark(cell: Difference | None) -> Text:
    if cell is None:
        return Text(MISSING, style="dim")
    sure = "*" if cell.decided else ""
    return Text(points(cell.gain, True) + sure, style="bold" if sure else "")


def _tests(
    heading: str, cells: Sequence[Difference], mean: Difference | None, console: Console, staged: bool = False
) -> None:
    if not cells:
        return
    console.print(Text(f"\n{heading}", style="bold"))
    grid = _grid("", "A", "B", "A − B", "95 %", "p")
    for cell in cells:
        name = f"{cell.place.stage} on {cell.place.task}" if staged else cell.place.task
        grid.add_row(Text(plain(name)), *_numbers(cell))
    if mean is not None:
        grid.add_row("mean", *_numbers(mean))
    console.print(grid)


def _numbers(cell: Difference) -> tuple[str, ...]:
    between = MISSING if cell.low is None else f"{points(cell.low, True)} to {points(cell.high, True)}"
    gain = points(cell.gain, True) + ("*" if cell.decided else "")
    return points(cell.ours), points(cell.theirs), gain, between, _p(cell.p)


def _p(p: float | None) -> str:
    if p is None:
        return MISSING
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _grid(first: str, *numbers: str) -> Table:
    grid = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column(Text(first), overflow="fold")
    for head in numbers:
        grid.add_column(Text(head), justify="right", no_wrap=True)
    return grid
