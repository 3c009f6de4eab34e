"""Reference runs: what some metrics compare a run with. Each is a run of its own, with a folder and modules of its own.

"single"  a model of each task alone: a run of isolated modules
"joint"   after each task one model of all tasks so far

Stream and order, method, recipe, evaluation and seed are the run's; nothing is composed, merged, pruned or routed. So
runs that differ in their strategy share their references, and what a reference has finished is not run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continual.errors import ContinualError, unknown
from continual.folder import name_of
from continual.ledger import Cell
from continual.report.record import Record, load
from continual.strategy.base import Strategy
from continual.strategy.isolated import Isolated
from continual.strategy.joint import Joint

if TYPE_CHECKING:
    from continual.parts import Parts
    from continual.session import Session

STRATEGIES: dict[str, type[Strategy]] = {"single": Isolated, "joint": Joint}


def check(parts: Parts) -> None:
    """When a run is built. Raises ContinualError for a reference that is unknown, given twice, or cannot be run."""
    for name in parts.references:
        if name not in STRATEGIES:
            raise unknown("references", name, STRATEGIES)
        if parts.references.count(name) > 1:
            raise ContinualError(f"references has {name} twice; name each once: {', '.join(STRATEGIES)}")
        try:
            _derived(parts, name)
        except ContinualError as error:
            strategy = name_of("continual.strategy", STRATEGIES[name]())
            raise ContinualError(
                f"the reference {name} is a run of its own with strategy={strategy}, which is refused: {error}; "
                f"without {name} in references this run can be made"
            ) from None


def derived(parts: Parts) -> dict[str, Parts]:
    """By name, the reference runs of a run."""
    return {name: _derived(parts, name) for name in parts.references}


def adopt(session: Session) -> None:
    """Enter the cells of the finished references in the run's ledger, once, under their names.

    Raises ContinualError for a reference that has not come to its end.
    """
    for name, reference in derived(session.parts).items():
        path = Path(reference.runs) / reference.run_id / "run.json"
        if not path.exists():
            raise ContinualError(f"the reference {name}, run {reference.run_id}, is not finished; the same run goes on")
        record = load(path)
        if record.status != "finished":
            session.warnings.append(f"the reference {name}, run {record.id}: {record.status}")
        if not any(cell.stage == name for cell in session.ledger.cells):
            session.ledger.add(_cells(record, name, _comparable(session.parts, reference)))


def _derived(parts: Parts, name: str) -> Parts:
    """Named as if it had been asked for by itself, so that it is found finished where it was; without its loggers."""
    strategy = STRATEGIES[name]
    return replace(
        parts,
        strategy=strategy(),
        compositions=(),
        mergings=(),
        sources=(),
        prune=None,
        router=None,
        references=(),
        machine=replace(parts.machine, loggers=()),
        target=None,
        config=parts.config and {**parts.config, **_configured(strategy)},
    )


def _configured(strategy: type[Strategy]) -> dict[str, Any]:
    """The same in the words of conf/, so that a record's configuration makes its run."""
    return {
        "strategy": {"_target_": f"{strategy.__module__}.{strategy.__qualname__}"},
        "composition": {},
        "merging": {},
        "sources": (),
        "prune": None,
        "router": {"_target_": "continual.router.none"},
        "references": (),
        "target": None,
        "logger": {"_target_": "continual.logs.none.Nothing"},
    }


def _comparable(parts: Parts, reference: Parts) -> str:
    """The stage of the reference's cells that know of a row's task what the run's own do.

    A shared module that is not told the task answers among all labels so far ("learn"); what it would answer if it were
    told stands beside ("oracle"), and with that modules are compared that are told.
    """
    return "oracle" if _untold(reference) and not _untold(parts) else "learn"


def _untold(parts: Parts) -> bool:
    return parts.outputs is not None and parts.stream.scenario != "task"


def _cells(record: Record, name: str, stage: str) -> Iterator[Cell]:
    """Of "single" each task by its own model, of "joint" all tasks so far by the model of them; not forwarded here."""
    for cell in record.cells:
        if cell.stage == stage and (cell.task == cell.after if name == "single" else cell.task <= cell.after):
            yield Cell(**{**cell.model_dump(), "stage": name, "reused": True})
