"""The rules of a board: what it asks, what all rows share, and which runs a row must have."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from continual.errors import ContinualError
from continual.files import write_json
from continual.metric.base import Metric, metrics
from continual.report.record import Strict

FILE = "board.json"
SCHEMA = 1
Job = tuple[int, str]
"""(seed, name of the order): what one run of a row is."""


def named(name: str) -> str:
    """Of boards, rows and orders, which name folders and files. Raises ValueError for any other."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise ValueError(f"{name!r} is no name: expected 1 to 64 of a-z 0-9 . _ - that begin with a letter or digit")
    return name


def _unlike(values: list[Any]) -> list[Any]:
    if len({getattr(value, "name", value) for value in values}) < len(values):
        raise ValueError("one stands there twice; name each once")
    return values


Name = Annotated[str, AfterValidator(named)]


class Order(Strict):
    """The stream in one order of its tasks."""

    name: Name
    override: str | None  # of ``continual run``; None: as the experiment has it
    tasks: list[str]
    digest: str  # of the stream, its rows and their order


class Rules(Strict):
    """What must be equal for all rows, and what each must have. Everything else is what a row may vary."""

    schema_version: Literal[1] = SCHEMA
    name: Name
    asks: str
    metric: str  # with the version of its formula: "average_accuracy@1"
    experiment: list[str]  # overrides of ``continual run`` that all rows share
    frozen: dict[str, Any]  # what these say of other things than stream and encoder: {key of the configuration: value}
    stream: str
    scenario: str
    encoder: dict[str, Any]  # of a run's choices: fingerprint, reading, max_length, pooling
    code: str | None  # digest of the package's source; None: any
    seeds: Annotated[list[int], Field(min_length=1), AfterValidator(_unlike)]
    orders: Annotated[list[Order], Field(min_length=1), AfterValidator(_unlike)]

    @property
    def jobs(self) -> list[Job]:
        """Every seed with every order: the runs of a row."""
        return list(itertools.product(self.seeds, [order.name for order in self.orders]))

    def formula(self) -> Metric:
        """Of the metric that rows are ranked by. Raises ContinualError where this package has another version of it."""
        name = self.metric.partition("@")[0]
        found = metrics().get(name)
        if found is None or found.definition != self.metric:
            here = f"{found.definition}" if found else f"none of that name, but {', '.join(sorted(metrics()))}"
            raise ContinualError(f"board {self.name} ranks by {self.metric}; this package has {here}")
        return found


def save(rules: Rules, board: Path) -> None:
    """Into a new folder. Raises ContinualError where there is a board already: rules under records do not change."""
    if (board / FILE).exists():
        raise ContinualError(f"{board} is a board already; its rules stay as they are: make another folder")
    board.mkdir(parents=True, exist_ok=True)
    write_json(board / FILE, rules.model_dump(mode="json"))


def load(board: Path) -> Rules:
    """Raises ContinualError for a folder without rules, or with rules that are not of this schema."""
    path = board / FILE
    try:
        return Rules.model_validate_json(path.read_bytes())
    except OSError:
        raise ContinualError(f"{board} is no board: it has no {FILE}; continual board new makes one") from None
    except ValidationError as error:
        faults = sorted(error.errors(include_url=False), key=lambda fault: fault["loc"][:1] != ("schema_version",))
        where = ".".join(map(str, faults[0]["loc"]))
        raise ContinualError(f"{path} has no rules of schema {SCHEMA}: {where}: {faults[0]['msg']}") from None
