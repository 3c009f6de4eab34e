"""Progressive prompts: each task learns a prompt in front of those of the earlier tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from continual.adapter import Adapter
from continual.errors import ContinualError
from continual.held import Axes, Held, in_front
from continual.method import name_of
from continual.method.base import Described
from continual.method.prefix import Prefix
from continual.method.prompt import Prompt
from continual.strategy.base import Rule, Stage, Strategy

if TYPE_CHECKING:
    from continual.member import Member

AXES: Axes = {"prompt": 0, "key": 0, "value": 0}


@dataclass(frozen=True)
class Progressive(Strategy):
    """[P_t; …; P_1; x]: task t learns P_t in front of P_{t-1} … P_1, which stay bit by bit as they were.

    Razdaibiedina et al. 2023, "Progressive prompts: continual learning for language models". A task is answered by its
    own stored module, which has the prompts up to its own: nothing is forgotten, and later tasks read what earlier ones
    learned. ``method=prompt`` gives the length of each; with ``method=prefix`` keys and values of every layer stand in
    line in the same way. The order is their T5 code's.

    Theirs begins a prompt with embeddings of random words and trains it through a residual network, which this
    leaves out: it begins as the method does, and is trained as it is. The text moves to the right with each task, and
    T · length vectors before it must fit the encoder's positions: a run in which they will not is refused at its start.
    """

    def check(self, method: Described) -> None:
        """Raises ContinualError for a method that is no row of vectors."""
        if not isinstance(method, Prompt | Prefix):
            raise ContinualError(
                "strategy=progressive puts a prompt in front of the earlier ones: expected method=prompt or "
                f"method=prefix, got method={name_of(method)}; choose one of them, or another strategy"
            )

    def last(self, method: Described, tasks: int) -> Described:
        assert isinstance(method, Prompt | Prefix)
        return replace(method, length=method.length * tasks)

    def start(self, fresh: Adapter, stage: Stage) -> Adapter:
        newest = stage.newest
        if newest is None:
            return fresh
        method, before = fresh.method, newest.method
        assert isinstance(method, Prompt | Prefix)
        assert isinstance(before, Prompt | Prefix)
        return in_front(fresh, newest, replace(method, length=method.length + before.length), AXES)

    def rule(self, member: Member, stage: Stage) -> Rule:
        return Held(member, stage, AXES)
