"""Several strategies at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from continual import folder
from continual.adapter import Adapter
from continual.errors import ContinualError
from continual.files import canonical
from continual.method.base import Described, Params
from continual.strategy.base import Closed, Memory, Rule, Stage, Strategy
from continual.strategy.ewc import EWC
from continual.strategy.olora import OLoRA
from continual.strategy.progressive import Progressive
from continual.strategy.si import SI
from continual.stream.base import Example, Rows
from continual.typed import call, tuples, under

if TYPE_CHECKING:
    from continual.member import Member


@dataclass(frozen=True)
class Chain(Strategy):
    """The strategies of ``of`` in that order: a name each, or {name: its arguments}.

    - The rows are those of the first, and what each other one adds: a row that two of them repeat is there once.
    - Penalties are added. Gradients and values are changed by one after the other, so what holds a part of the module
      as it was comes last: ``[agem, olora]``.
    - The module begins as the one says that has a start of its own; else it goes on if it is shared, or is fresh.
    - One head has the labels of all tasks where one of them asks for it.
    - What a strategy remembers is kept under its name, and no other sees it.

    The gradient that ``si`` takes for that of the task's loss has the penalties of the others in it.

    Raises ContinualError for strategies that cannot be one: those of a shared module with those of a module a task, two
    with a start of their own, ``ewc`` or ``si``, which measure how parameters moved, with ``olora`` or ``progressive``,
    whose modules grow, a chain, and heads in closed form, which are not trained in steps.
    """

    of: tuple[str | Mapping[str, Mapping[str, Any] | None], ...] = field(default=("replay", "ewc"), hash=False)

    def __post_init__(self) -> None:
        _require_one_kind(self.parts)
        _require_fit(self.parts)
        # Attributes of the class elsewhere; here they follow from what is chained.
        for what, values in (("shared", any), ("one_head", any), ("independent", all)):
            object.__setattr__(self, what, values(getattr(part, what) for part in self.parts.values()))
        heads = tuple(head for head in Strategy.heads if all(head in part.heads for part in self.parts.values()))
        object.__setattr__(self, "heads", heads)

    @cached_property
    def parts(self) -> dict[str, Strategy]:
        given = [pair for item in self.of for pair in _pairs(item)]
        names = [name for name, _ in given]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ContinualError(f"strategy.of has {', '.join(twice)} twice; name each strategy once")
        kinds = {name: folder.component("continual.strategy", name) for name in names}
        return {name: call(kinds[name], under(f"strategy.of.{name}", tuples(dict(own or {})))) for name, own in given}

    def check(self, method: Described) -> None:
        for part in self.parts.values():
            part.check(method)

    def last(self, method: Described, tasks: int) -> Described:
        for part in self.parts.values():
            method = part.last(method, tasks)
        return method

    def start(self, fresh: Adapter, stage: Stage) -> Adapter:
        own = _with_own("start", self.parts)
        return self.parts[own[0]].start(fresh, stage) if own else super().start(fresh, stage)

    def start_head(self, fresh: Params, known: Params) -> Params:
        own = _with_own("start_head", self.parts)
        return self.parts[own[0]].start_head(fresh, known) if own else super().start_head(fresh, known)

    def rows(self, stage: Stage) -> Rows:
        own = _with_own("rows", self.parts)
        if not own:
            return stage.task.train
        rows = self.parts[own[0]].rows(_seen(own[0], stage))
        for name in own[1:]:
            rows = _joined(rows, self.parts[name].rows(_seen(name, stage)))
        return rows

    def rule(self, member: Member, stage: Stage) -> Rule:
        return _Rule(member, stage, self)


class _Rule(Rule):
    """Memory: "<name of the strategy>/<what it remembers>"."""

    def __init__(self, member: Member, stage: Stage, of: Chain) -> None:
        super().__init__(member, stage)
        self.rules = {name: part.rule(member, _seen(name, stage)) for name, part in of.parts.items()}

    def ready(self) -> None:
        for rule in self.rules.values():
            rule.ready()

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        return sum((rule.penalty(row, logits) for rule in self.rules.values()), 0.0)

    def gradients(self) -> None:
        for rule in self.rules.values():
            rule.gradients()

    def stepped(self) -> None:
        for rule in self.rules.values():
            rule.stepped()

    def memory(self) -> Memory:
        return {f"{name}/{key}": tensor for name, rule in self.rules.items() for key, tensor in rule.memory().items()}

    def held(self) -> int:
        return sum(rule.held() for rule in self.rules.values())


def _pairs(item: str | Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | None]]:
    return [(item, None)] if isinstance(item, str) else list(item.items())


def _seen(name: str, stage: Stage) -> Stage:
    """The stage as one of the strategies sees it: with its own memory."""
    begin = f"{name}/"
    own = {key.removeprefix(begin): tensor for key, tensor in stage.memory.items() if key.startswith(begin)}
    return replace(stage, memory=own)


def _joined(rows: Rows, more: Rows) -> Rows:
    """The first, and those of the others that are not among them; of equal ones as many as either has."""
    left, added = Counter(map(_content, rows)), []
    for row in more:
        if left[content := _content(row)] > 0:
            left[content] -= 1
        else:
            added.append(row)
    return [*rows, *added]


def _content(row: Example) -> bytes:
    return canonical(row.content)


def _with_own(what: str, parts: Mapping[str, Strategy]) -> list[str]:
    """The names of those that say themselves what the base class says for the others."""
    return [name for name, part in parts.items() if getattr(type(part), what) is not getattr(Strategy, what)]


def _require_one_kind(parts: Mapping[str, Strategy]) -> None:
    if not parts:
        raise ContinualError("strategy.of is empty; name at least one: strategy.of=[replay,ewc]")
    if alone := [name for name, part in parts.items() if isinstance(part, Chain | Closed)]:
        raise ContinualError(f"strategy.of has {alone[0]}, which cannot be in a chain; leave it out")
    shared = [name for name, part in parts.items() if part.shared]
    if shared and len(shared) < len(parts):
        apart = [name for name in parts if name not in shared]
        raise ContinualError(
            f"strategy.of has {', '.join(shared)} with one module for all tasks and {', '.join(apart)} with a module "
            "for each; choose strategies of one kind"
        )


def _require_fit(parts: Mapping[str, Strategy]) -> None:
    if len(own := _with_own("start", parts)) > 1:
        raise ContinualError(f"strategy.of has {' and '.join(own)}, and each says how a task starts; keep one of them")
    grown = [name for name, part in parts.items() if isinstance(part, OLoRA | Progressive)]
    still = [name for name, part in parts.items() if isinstance(part, EWC | SI)]
    if grown and still:
        raise ContinualError(
            f"strategy.of has {still[0]}, which measures how parameters moved, and {grown[0]}, whose module grows and "
            "keeps what is old as it was; leave one of them out"
        )
