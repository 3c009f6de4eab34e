"""What a person reads at the end of a run, on a terminal or in a log."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from continual.errors import counted
from continual.report.grid import MISSING, Row, headline, judged, known, plain, points, routes, rows, title
from continual.report.record import CellFacts, Gain, Record
from continual.report.screen import room, screen

CELL = len("~100.0")
GAP = 2  # spaces between columns


def show(record: Record, console: Console | None = None) -> None:
    """Print matrix, metrics, compositions, routes and modules; scores and differences in percent points."""
    console = console or screen()
    _head(record, console)
    _matrix(record, console)
    _metrics(record, console)
    _gains(record, console)
    _routing(record, console)
    _modules(record, console)


def _head(record: Record, console: Console) -> None:
    what = f"{record.stream} · {record.strategy} · {record.method} on {record.encoder.name} · seed {record.seed}"
    console.print(Text(plain(what), style="bold"))
    console.print(Text(f"run {plain(record.id)} · {record.status} in {record.seconds:.0f} s", style="dim"))
    for module in record.modules:
        if module.status == "diverged":
            console.print(Text(f"{plain(module.name)} diverged: {plain(module.why)}", style="red"))
    for warning in record.warnings:
        console.print(Text(f"warning: {plain(warning)}", style="yellow"))
    for kept, what in ((record.encoder_unchanged, "encoder"), (record.modules_unchanged, "stored modules")):
        if not kept:
            console.print(Text(f"the {what} changed during the run: do not trust these scores", style="bold red"))


def _matrix(record: Record, console: Console) -> None:
    others = any(task.score != "accuracy" for task in record.tasks)
    _section("Scores, points" if others else "Accuracy, % of test rows", console)
    names = [plain(task.name) for task in record.tasks]
    table = rows(record)
    width = 0 if not names else max(map(cell_len, ["before any", *(f"after {name}" for name in names)]))
    full = width + sum(GAP + max(CELL, cell_len(name)) for name in names)
    if full <= room(console):
        _block(table, ["before any", *(f"after {name}" for name in names)], names, range(len(names)), console)
    else:
        _numbered(table, names, console)
    if others:
        scores = dict.fromkeys(task.score for task in record.tasks)
        of = {score: [plain(task.name) for task in record.tasks if task.score == score] for score in scores}
        console.print(Text("; ".join(f"{plain(score)} of {', '.join(tasks)}" for score, tasks in of.items())))
    if any(cell and cell.how == "ncm" for row in table for cell in row.cells):
        console.print(Text("~ not learned yet: nearest class mean on the features of the last module", style="dim"))
    if record.scenario != "task":
        console.print(Text(known(record)))


def _numbered(table: list[Row], names: list[str], console: Console) -> None:
    """Numbers for names, a legend, and as many blocks of columns as the width asks for."""
    labels = ["before any", *(f"after {number}" for number in range(1, len(names) + 1))]
    fit = max(1, (room(console) - max(map(len, labels))) // (GAP + CELL))
    for start in range(0, len(names), fit):
        columns = range(start, min(start + fit, len(names)))
        _block(table, labels, [str(column + 1) for column in columns], columns, console)
    legend = "   ".join(f"{number}\u00a0{name}" for number, name in enumerate(names, 1))
    console.print(Text(legend, overflow="fold"))


def _block(table: list[Row], labels: list[str], heads: list[str], columns: range, console: Console) -> None:
    grid = _table("", *heads)
    for row in table:
        grid.add_row(labels[row.after + 1], *(_cell(row.cells[column]) for column in columns))
    console.print(grid)


def _cell(cell: CellFacts | None) -> Text:
    if cell is None:
        return Text(MISSING, style="dim")
    return Text("~" + points(cell.score), style="dim") if cell.how == "ncm" else Text(points(cell.score))


def _metrics(record: Record, console: Console) -> None:
    over = judged(record)
    _section(f"Metrics, points{over and f': {over}'}", console)
    grid = Table(box=None, show_header=False, padding=(0, GAP, 0, 0), pad_edge=False)
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column(style="dim")
    grid.add_column(style="dim")
    for name, metric in headline(record):
        lack = f"{counted(metric.missing, 'cell')} missing" if metric.missing else ""
        grid.add_row(Text(title(plain(name))), points(metric.value), Text(plain(metric.definition)), lack)
    console.print(grid)


def _gains(record: Record, console: Console) -> None:
    if not record.gains:
        return
    _section("Compositions, gain in points with its 95 % interval", console)
    by: dict[tuple[str, str], dict[str, Gain]] = {}
    for gain in record.gains:
        by.setdefault((gain.composition, gain.task), {})[gain.versus] = gain
    grid = _table("composition", "score", "over the module", "over the head")
    for (name, task), versus in by.items():
        score = points(next(iter(versus.values())).score)
        grid.add_row(Text(plain(f"{name} on {task}")), score, _gain(versus.get("single")), _gain(versus.get("head")))
    console.print(grid)


def _gain(gain: Gain | None) -> str:
    if gain is None:
        return MISSING
    return f"{points(gain.gain, True)} ({points(gain.low, True)} to {points(gain.high, True)})"


def _routing(record: Record, console: Console) -> None:
    if record.routing is None:
        return
    _section(f"Task not given: router {plain(record.routing.router)}, % of test rows", console)
    grid = _table("rows of", "route", "answer", "answer, task given")
    for name, row in routes(record):
        grid.add_row(Text(name), points(row.route), points(row.total), points(row.oracle))
    console.print(grid)


def _modules(record: Record, console: Console) -> None:
    if not record.modules:
        return
    _section("Modules", console)
    grid = _table("module", "trained", "kB", "seconds", "valid")
    for module in record.modules:
        valid = "diverged" if module.status == "diverged" else points(module.valid_score)
        size = f"{module.bytes / 1000:,.0f}"
        grid.add_row(Text(plain(module.name)), f"{module.trainable:,}", size, f"{module.seconds:.1f}", valid)
    console.print(grid)
    stored, peak = (n / 1e6 for n in (sum(module.bytes for module in record.modules), record.peak_memory_bytes))
    units = f"{counted(record.forwarded_rows, 'unit')} evaluated"
    console.print(Text(f"{stored:,.1f} MB stored · {units} · peak memory {peak:,.0f} MB", style="dim"))


def _section(heading: str, console: Console) -> None:
    console.print(Text(f"\n{heading}", style="bold"))


def _table(first: str, *numbers: str) -> Table:
    """A left column of names that may fold, and columns of numbers that never do."""
    grid = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column(Text(first), overflow="fold")
    for head in numbers:
        grid.add_column(Text(head), justify="right", no_wrap=True)
    return grid
