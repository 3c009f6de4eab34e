"""Numbers that nobody here ran again: shown apart from those that can be checked, with where they stand."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from continual.errors import ContinualError
from continual.report.record import Strict

FILE = "published.json"


class Published(Strict):
    """value  in the unit of the board's metric, as published: what was the same there as here is for ``note`` to say"""

    name: str
    value: float
    source: str  # a paper, or an address
    note: str = ""


def load(board: Path) -> list[Published]:
    """As they stand there; none where there is no file. Raises ContinualError for one that holds something else."""
    path = board / FILE
    if not path.exists():
        return []
    try:
        return TypeAdapter(list[Published]).validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ContinualError(
            f"{path}: expected a list of name, value, source and note; {where}: {fault['msg']}"
        ) from None
