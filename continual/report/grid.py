"""A record's cells as the table that people look at, and its numbers as they read them. Shared by table and page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from continual.report.record import CellFacts, Metric, Record, Route, TaskFacts

MISSING = "–"
SHOWN = ("average_accuracy", "backward_transfer", "forgetting", "forward_transfer", "learning_accuracy")
COMPARED = ("intransigence", "rectified_forgetting", "forgetting_rate", "forward_transfer_over_single")


@dataclass(frozen=True)
class Row:
    """One row of the accuracy matrix: ``after`` is the task just learned, -1 before any; a cell per task or None."""

    after: int
    cells: tuple[CellFacts | None, ...]


def rows(record: Record) -> list[Row]:
    """Row "zero", then a row for every task of the stream: also those of which no cell was scored."""
    tasks = range(len(record.tasks))
    at = {(c.after, c.task): c for c in record.cells if c.stage in ("zero", "learn") and c.score is not None}
    return [Row(after, tuple(at.get((after, task)) for task in tasks)) for after in (-1, *tasks)]


def routes(record: Record) -> list[tuple[str, Route]]:
    """After the last task, by name: of each task that rows were routed to, then of all their rows."""
    found = [] if record.routing is None else record.routing.rows
    own = [(plain(record.tasks[row.task].name), row) for row in found if row.task is not None]
    return own + [("all", row) for row in found if row.task is None][-1:]


def known(record: Record) -> str:
    """What was known of the rows of a matrix whose scenario is another than "task"."""
    last = max((cell.after for cell in record.cells), default=-1)
    given = [c.score for c in record.cells if c.stage == "oracle" and c.after == last and c.score is not None]
    if not given:
        return f"scenario {record.scenario}, but each row's task was given here; what is answered without it: routing"
    return (
        f"scenario {record.scenario}: learned tasks are answered among all labels so far, no row's task is given; "
        f"with it the last row would be {points(sum(given) / len(given))} on average"
    )


def headline(record: Record) -> list[tuple[str, Metric]]:
    """The metrics that people see first, by name, and those against references that were run. The record has all."""
    found = [(name, record.metrics[name]) for name in (*SHOWN, *COMPARED) if name in record.metrics]
    return [(name, metric) for name, metric in found if name in SHOWN or metric.value is not None]


def judged(record: Record) -> str:
    """What each metric is a mean over, where the tasks are judged by several scores; else empty."""
    scores = list(dict.fromkeys(plain(task.score).replace("_", " ") for task in record.tasks))
    return f"means over {', '.join(scores)}" if len(scores) > 1 else ""


def scored(cell: CellFacts) -> float:
    """The score of a cell of ``rows``, where every cell has one."""
    assert cell.score is not None
    return cell.score


def score(record: Record, after: int, task: int) -> float | None:
    """After task ``after``, on task ``task``; None where missing."""
    cell = rows(record)[after + 1].cells[task]
    return cell.score if cell else None


def plain(name: str) -> str:
    """A name without characters that act on a terminal or on the direction of the text.

    >>> plain("a\\x1b[31mb")
    'a\\ufffd[31mb'
    """
    return "".join(char if char.isprintable() else "\ufffd" for char in name)


def short(name: str, width: int) -> str:
    """At most ``width`` characters, the cut marked.

    >>> short("a long name", 8)
    'a long …'
    """
    name = plain(name)
    return name if len(name) <= width else name[: width - 1] + "…"


def numbered(names: Iterable[str]) -> list[str]:
    """Each name once: the second and later of one name have the first number behind them that makes them new.

    >>> numbered(["a", "a", "a (2)", "b"])
    ['a', 'a (2)', 'a (2) (2)', 'b']
    """
    found: dict[str, None] = {}
    for name in names:
        tries = (name if number == 1 else f"{name} ({number})" for number in count(1))
        found[next(free for free in tries if free not in found)] = None
    return list(found)


def points(value: float | None, sign: bool = False) -> str:
    """A score or a difference of scores in percent points, one decimal.

    >>> points(0.8349), points(-0.0001), points(0.02, sign=True), points(-0.02), points(None)
    ('83.5', '0.0', '+2.0', '−2.0', '–')
    """
    if value is None:
        return MISSING
    rounded = round(100 * value, 1) + 0.0  # no negative zero
    return f"{rounded:{'+' if sign and rounded else ''}.1f}".replace("-", "−")


def asked(task: TaskFacts) -> str:
    """A task's name, with its score where that is not the accuracy."""
    return task.name if task.score == "accuracy" else f"{task.name} ({task.score})"


def title(name: str) -> str:
    """A metric's name as words.

    >>> title("backward_transfer")
    'Backward transfer'
    """
    return name.replace("_", " ").capitalize()
