"""A board as the Hugging Face Hub reads results: ``.eval_results/<board>.yaml`` in the repository of a row's model."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from continual.board.page import bounds
from continual.board.rank import Standing
from continual.board.standings import Board
from continual.errors import ContinualError, counted
from continual.files import write_atomic


def export(board: Board, folder: Path, dataset: str, source: str | None = None) -> list[Path]:
    """Write ``<row>/.eval_results/<board>.yaml`` below ``folder``: each of them goes into a repository of its own.

    dataset  the benchmark on the Hub, owner/name; the board's name is its task
    source   address of the board, if it has one

    Raises ContinualError for a data set that is not named like one of the Hub.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", dataset):
        raise ContinualError(f"dataset: expected owner/name of a data set on the Hub, got {dataset!r}")
    written = []
    for standing in board.standings:
        path = folder / standing.row.name / ".eval_results" / f"{board.rules.name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = eval_result_entries_to_yaml([_entry(board, standing, dataset, source)])
        write_atomic(path, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True).encode("utf-8"))
        written.append(path)
    return written


def _entry(board: Board, standing: Standing, dataset: str, source: str | None) -> EvalResultEntry:
    """The value is the mean, in [0, 1] as the metric has it; the notes hold what the format has no field for."""
    created = max(datetime.fromisoformat(entry.record.created) for entry in standing.row.runs.values())
    notes = (
        f"{board.rules.metric}, mean of {counted(standing.score.runs, 'run')}, 95 % interval in points: "
        f"{bounds(standing.score)}"
    )
    return EvalResultEntry(
        dataset_id=dataset,
        task_id=board.rules.name,
        value=standing.score.mean,
        date=created.isoformat(),
        source_url=source,
        source_name=None if source is None else board.rules.name,
        notes=notes,
    )
