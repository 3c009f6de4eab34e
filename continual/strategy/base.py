"""How one task is learned, given the past. Every default is plain fine-tuning of a fresh module.

A ``Strategy`` is a choice: plain values, the same for the whole run. What it does in the training of one module is a
``Rule``, made anew for each; what it must remember until the next task is a ``Memory``, which the run stores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.method.base import Described, Params
from continual.stream.base import Rows, Task
from continual.stream.units import Encoded

if TYPE_CHECKING:
    from continual.member import Member, Own

Memory = dict[str, Tensor]


@dataclass(frozen=True)
class Stage:
    """What a strategy may know when a task is learned. Of validation and test rows, nothing.

    tasks   all so far, this one last; with ``one_head`` their labels are outputs of that head
    past    the module that was stored with each of the earlier ones, oldest first; None where it diverged; nothing for
            a strategy that is independent of them
    memory  what the strategy's last rule remembered; empty at the first task
    encode  rows as the encoder and the head of this stage read them
    bare    (n, d) what the bare encoder makes of rows; to be asked in ``start`` and ``rows``, before a module is loaded
    seed    the run's
    one_head  whether the head goes on from task to task too
    rivals  then, of the outputs that it had before this task, those that compete: one group, or one for each task
    """

    tasks: tuple[Task, ...]
    past: tuple[Adapter | None, ...] = field(repr=False)
    memory: Memory = field(repr=False)
    encode: Callable[[Rows], Encoded] = field(repr=False)
    bare: Callable[[Rows], Tensor] = field(repr=False)
    seed: int
    one_head: bool
    rivals: tuple[tuple[int, ...], ...] = ()

    @property
    def task(self) -> Task:
        return self.tasks[-1]

    @property
    def newest(self) -> Adapter | None:
        """The last module that was stored."""
        return next((adapter for adapter in reversed(self.past) if adapter is not None), None)


class Rule:
    """The moments of one module's training at which a strategy acts."""

    def __init__(self, member: Member, stage: Stage) -> None:
        self.member, self.stage = member, stage

    def going(self) -> list[Own]:
        """The member's parameters that go on to the next task: the module's, and the head's where there is one."""
        return [own for own in self.member.parameters() if own.name.startswith("module/") or self.stage.one_head]

    def remembered(self) -> Memory:
        """The stage's memory, where the member is."""
        device = self.member.parameters()[0].value.device
        return {name: tensor.to(device) for name, tensor in self.stage.memory.items()}

    def ready(self) -> None:
        """Before each step's forward: the member's values, and what its method keeps fixed, may be set."""

    def penalty(self, row: Tensor, logits: Tensor) -> Tensor | float:
        """A term of the member's loss, in every step, of its rows in the batch: (n,) content ids, (n, …) logits."""
        return 0.0

    def gradients(self) -> None:
        """Between backward and step, before the norm is clipped: the member's gradients may be changed in place."""

    def stepped(self) -> None:
        """After each step: the member's values may be changed in place."""

    def memory(self) -> Memory:
        """After the last step, with the module as it will be stored: what the next task's rule finds in its stage."""
        return {}

    def held(self) -> int:
        """How many of the module's numbers stay what they were, and are not trained."""
        return 0


class Strategy:
    """What is learned from what.

    independent  True: what is learned of a task is a function of that task alone, whatever came before it
    shared    True: one module answers all tasks, as it is now; False: each task is answered by its own
    one_head  True: one head has the labels of all tasks, and old rows can be trained on. So it is in any case where
              a row's task is not known when it is answered (every scenario but "task") and one module is shared
    heads     what that one head may be: a label for each row, or a tag for each word
    """

    independent: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    one_head: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]] = ("classify", "tag")

    def check(self, method: Described) -> None:
        """When a run is built. Raises ContinualError for a method that the strategy cannot work with."""

    def last(self, method: Described, tasks: int) -> Described:
        """The method as which the module of the last of so many tasks is stored: another where modules grow."""
        return method

    def start(self, fresh: Adapter, stage: Stage) -> Adapter:
        """The module that the task starts from: a fresh one, or one of the past; one that is shared goes on."""
        return stage.newest if self.shared and stage.newest is not None else fresh

    def start_head(self, fresh: Params, known: Params) -> Params:
        """The one head that it starts from: the outputs that are known as they were left, and fresh ones."""
        return {name: torch.cat([old, fresh[name][len(old) :]]) for name, old in known.items()}

    def rows(self, stage: Stage) -> Rows:
        """The rows to train on."""
        return stage.task.train

    def rule(self, member: Member, stage: Stage) -> Rule:
        return Rule(member, stage)


class Closed(Strategy):
    """One head for all tasks, computed from sums over features: no row is seen again, no old output forgotten.

    The features are those of one module, which must not change. It is trained on the first task (first-session
    adaptation: Panos et al. 2023), with a head that is then dropped; a method without values, as ``head``, is not
    trained at all and leaves the encoder bare. ``continual/closed.py`` goes through a task.
    """

    shared: ClassVar[bool] = True
    one_head: ClassVar[bool] = True

    def start_head(self, fresh: Params, known: Params) -> Params:
        return fresh

    def gather(self, stage: Stage, features: Tensor, labels: Tensor) -> Memory:
        """Sums over all tasks so far: those in ``stage.memory``, and over the task's (n, d) features and (n,) outputs.

        "count" among them is how many rows each output has; there is one for each of ``stage.task.labels``.
        """
        raise NotImplementedError

    def solve(self, sums: Memory) -> Params:
        """The head (``head/classify.py``) that the sums give."""
        raise NotImplementedError
