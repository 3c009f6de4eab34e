"""A board as lines, one a run: CSV for people, Parquet for queries. Both say the same."""

from __future__ import annotations

import csv
import io
from typing import Any

from continual.board.rank import Standing
from continual.board.sound import ledger
from continual.board.standings import Board
from continual.metric.base import measure, metrics
from continual.report.record import Record

Line = dict[str, Any]
COLUMNS: dict[str, type] = {
    **{"rank": int, "row": str, "tie": bool, "mean": float, "low": float, "high": float},
    **{"seed": int, "order": str, "run": str, "sha256": str, "strategy": str, "method": str, "value": float},
    **{"trained_parameters": int, "stored_bytes": int, "seconds": float},
}
"""Before those of all metrics."""


def lines(board: Board) -> list[Line]:
    """By rank, seed and order. Every metric is computed from the record's cells; None where it is undefined.

    rank, row, tie, mean, low, high   of the row; low and high are None for a row of one run
    seed, order, run, sha256          of the run, and of its record's file
    value                             of the board's metric
    """
    return [_line(board, standing, job) for standing in board.standings for job in board.rules.jobs]


def _line(board: Board, standing: Standing, job: tuple[int, str]) -> Line:
    entry, score = standing.row.runs[job], standing.score
    record = entry.record
    bounds = (score.low, score.high) if score.runs > 1 else (None, None)
    return {
        "rank": standing.rank,
        "row": standing.row.name,
        "tie": standing.tie,
        "mean": score.mean,
        "low": bounds[0],
        "high": bounds[1],
        "seed": job[0],
        "order": job[1],
        "run": record.id,
        "sha256": entry.path.stem,
        "strategy": record.strategy,
        "method": record.method,
        "value": standing.row.values[job],
        **costs(record),
        **{name: metric.value for name, metric in measure(ledger(record)).items()},
    }


def costs(record: Record) -> Line:
    """Over all modules of a run; seconds are of the whole run, on the machine that it ran on."""
    return {
        "trained_parameters": sum(module.trainable for module in record.modules),
        "stored_bytes": sum(module.bytes for module in record.modules),
        "seconds": record.seconds,
    }


def columns() -> dict[str, type]:
    """{column: type of its values}, in their order."""
    return {**COLUMNS, **dict.fromkeys(metrics(), float)}


def to_csv(board: Board) -> bytes:
    """Text that a spreadsheet would compute is marked as text."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns(), lineterminator="\n")
    writer.writeheader()
    for line in lines(board):
        writer.writerow({key: text(value) if isinstance(value, str) else value for key, value in line.items()})
    return out.getvalue().encode("utf-8")


def text(value: str) -> str:
    """
    >>> text("=1+1"), text("isolated-lora")
    ("'=1+1", 'isolated-lora')
    """
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def to_parquet(board: Board) -> bytes:
    """The same bytes for the same records, of one version of pyarrow."""
    import pyarrow
    from pyarrow import parquet

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), bool: pyarrow.bool_(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns().items()])
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(lines(board), schema=schema), sink)
    return sink.getvalue().to_pybytes()
