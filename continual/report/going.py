"""A run that is not finished, as a record of what it has so far: for whoever watches it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from continual.errors import CorruptError
from continual.files import peek_lines
from continual.ledger import Cell, Ledger
from continual.metric.base import measure
from continual.report.record import CellFacts, Metric, Module, Record, load


def going(folder: Path) -> Record:
    """``begun.json``, with the rows of the ledger, the modules of the journal, and the metrics that these rows have.

    Nothing is locked, and a line that is being written is not read yet. Raises CorruptError where a file is damaged.
    """
    begun = load(folder / "begun.json")
    try:
        ledger = Ledger([task.name for task in begun.tasks])
        for row in peek_lines(folder / "ledger.jsonl"):
            ledger.add(Cell(**cell) for cell in row)
        cells = [CellFacts(**asdict(cell)) for cell in ledger.cells]
        modules = [Module(**entry["module"]) for entry in peek_lines(folder / "modules.jsonl")]
        Record(**{**dict(begun), "cells": cells})  # no metric is computed of cells of other tasks
        known = {name: metric for name, metric in measure(ledger).items() if metric.value is not None}
        metrics = {name: Metric(**asdict(metric)) for name, metric in known.items()}
    except (ValidationError, TypeError, KeyError) as error:
        raise CorruptError(f"{folder}: ledger or journal is of another version: {error}") from None
    return begun.model_copy(update={"cells": cells, "modules": modules, "metrics": metrics})
