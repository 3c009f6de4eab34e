"""The schema of ``run.json``: one run, on disk, as data. Cells are the truth; the rest is derived or provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from continual.errors import CorruptError
from continual.files import canonical, write_json

SCHEMA = 1


Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Count = Annotated[int, Field(ge=-(10**15), le=10**15)]
"""No run has numbers beyond these. A file that has them would break whoever computes with them."""


class Strict(BaseModel):
    """Unknown fields are an error, so is a number that is not finite, and nothing changes once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EncoderFacts(Strict):
    """The frozen encoder; only the fingerprint binds."""

    name: str
    revision: str | None
    fingerprint: str
    family: str
    layers: Count
    width: Count
    parameters: Count


class TaskFacts(Strict):
    """Rows of each split, where they come from, what is asked and how answers are judged."""

    name: str
    labels: list[str]
    train: Count
    valid: Count
    test: Count
    truncated: Count  # texts longer than the encoder's limit, over the three splits
    source: str
    digest: str
    head: str = "classify"  # what kind of question it is
    score: str = "accuracy"  # how its answers are judged


class CellFacts(Strict):
    """One score; the fields are those of ``continual.ledger.Cell``."""

    stage: str
    after: Count
    task: Count
    score: Number | None
    n: Count
    low: Number | None
    high: Number | None
    how: str
    key: str
    reused: bool
    why: str
    recall: Number | None = None  # None too in a record of before it was written
    classes: Count = 0


class Metric(Strict):
    """A number with the name of its definition."""

    value: Number | None  # None: undefined for this run, for example backward transfer of one task
    definition: str  # name and version of the formula, "backward_transfer@1"
    missing: Count  # cells the formula would read that are not there


class Module(Strict):
    """One stored object of this run and what it cost."""

    name: str
    version: Count
    digest: str
    kind: Literal["adapter", "composition"]
    method: str
    task: str
    parents: list[str]
    status: Literal["ok", "diverged"]
    why: str
    seed: int
    seconds: Number
    steps: Count
    trainable: Count  # parameters that were trained, the head included
    bytes: Count  # on disk, the head included
    valid_score: Number | None
    padding: Number | None = None  # tokens of its batches over those of its texts; None in a record of before


class Gain(Strict):
    """Score of a composition minus that of what it is compared with, on the same test rows, with a paired bootstrap."""

    composition: str
    task: str
    versus: Literal["single", "head"]
    score: Number
    reference: Number
    gain: Number
    low: Number
    high: Number
    n: Count


class Weights(Strict):
    """What a mixer did at one site, averaged over the target's test tokens (attention) or rows (gates)."""

    composition: str
    kind: Literal["attention", "gate", "fixed"]
    layer: Count
    site: str
    members: list[str]
    mean: list[Number]


class Route(Strict):
    """Test rows whose task was not given, once task ``after`` was learned. Shares of rows, not means over tasks.

    For each row, right = routed right and right by the own module + lucky - lost (``continual/routing.py``).
    """

    after: Count
    task: Count | None  # whose rows; None: those of all tasks so far
    n: Count
    answered: Count  # of them, rows whose answer is a class: oracle, total, lucky and lost are over these
    route: Number  # sent to their own task
    oracle: Number | None  # right by their own module and head: with the task given
    total: Number | None  # right with the task not given
    lucky: Count
    lost: Count


class Routing(Strict):
    """What a router made of the stream."""

    router: str
    arguments: dict[str, Any]
    temperature: Number  # P(task|row) = softmax(score / temperature), after the last task
    tasks: list[Count]  # that can be routed to
    rows: list[Route]
    confusion: list[list[Count]] = []  # test rows by own task and likeliest task, after the last; of before: none


class Certificate(Strict):
    """That nothing moved (``continual/certificate.py``): how often it was looked at, and a digest of all that was."""

    stages: Count  # after which it was checked
    comparisons: Count  # of a module with what it was when it was stored
    rows: Count  # of each task, whose logits were compared too
    digest: str


class Record(Strict):
    """One run."""

    schema_version: Literal[1] = SCHEMA
    id: str
    created: str
    seconds: Number
    status: Literal["begun", "finished", "finished with failures"]  # begun: of begun.json, see going.py
    warnings: list[str]
    stream: str
    stream_digest: str
    scenario: str = "task"
    strategy: str
    method: str
    seed: int
    encoder: EncoderFacts
    tasks: list[TaskFacts]
    cells: list[CellFacts]
    metrics: dict[str, Metric]
    modules: list[Module]
    gains: list[Gain]
    weights: list[Weights]
    routing: Routing | None = None  # None: the task of every row was given
    forwarded_rows: Count  # units that were evaluated: texts, pairs, images; of a row in windows or options each
    peak_memory_bytes: Count
    encoder_unchanged: bool  # fingerprint after the run equals the one before
    modules_unchanged: bool  # digests of all stored modules re-computed after the run equal those before
    certificate: Certificate | None = None  # None: a record of before there were any
    versions: dict[str, str]
    code: str
    config: dict[str, Any]

    @model_validator(mode="after")
    def _agrees(self) -> Record:
        """Whoever reads a record relies on it: what refers to a task finds it, and what belongs together is as long."""
        tasks, routing = range(len(self.tasks)), self.routing
        moments = range(-1, len(self.tasks))
        lost = [cell for cell in self.cells if cell.task not in tasks or cell.after not in moments]
        if routing is not None:
            lost += [row for row in routing.rows if row.after not in tasks or row.task not in (None, *tasks)]
            lost += [index for index in routing.tasks if index not in tasks]
            sizes = {len(routing.confusion), *map(len, routing.confusion)}
            if routing.confusion and sizes != {len(routing.tasks)}:
                raise ValueError("routing.confusion is not a row and a column for each of routing.tasks")
        if lost:
            raise ValueError(f"there are {len(tasks)} tasks, and this refers to another: {lost[0]!r}")
        if odd := [w for w in self.weights if len(w.members) != len(w.mean)]:
            raise ValueError(f"a mean for each member was expected, got {odd[0]!r}")
        canonical([self.config, routing and routing.arguments])  # NaN is no JSON
        return self


def save(record: Record, path: Path) -> None:
    """Atomically: a ``run.json`` that is there is whole."""
    write_json(path, record.model_dump(mode="json"))


def load(path: Path) -> Record:
    """Raises CorruptError for a file that is not a record of this schema, saying what is wrong with it."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CorruptError(f"{path} is not a run record of schema {SCHEMA}: {_why(error)}") from None
    except OSError as error:
        raise CorruptError(f"{path} cannot be read: {error.strerror}") from error


def _why(error: ValidationError) -> str:
    """The schema first: in a record of another one much else is different too."""
    found = sorted(error.errors(include_url=False), key=lambda fault: fault["loc"][:1] != ("schema_version",))
    first = found[0]
    where = ".".join(map(str, first["loc"]))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{where + ': ' if where else ''}{first['msg']}{more}"
