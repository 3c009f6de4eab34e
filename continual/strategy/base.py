"""How one task is learned, given the past. Every default is plain fine-tuning of a fresh module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from continual.adapter import Adapter
from continual.stream.base import Rows, Task
from continual.types import Batch

if TYPE_CHECKING:
    from continual.member import Member


class Strategy:
    """The moments at which a strategy may act; a strategy overrides those it needs.

    shared   True: one module answers all tasks, as it is now; False: each task is answered by its own
    """

    shared: ClassVar[bool] = False

    def start(self, fresh: Adapter, past: Sequence[Adapter]) -> Adapter:
        """The module that the next task starts from: a fresh one, or one of the past (oldest first)."""
        return fresh

    def data(self, task: Task, past: Sequence[Task]) -> Rows:
        """The rows to train on."""
        return task.train

    def penalty(self, member: Member, batch: Batch) -> Tensor | float:
        """A term of the member's loss, in every step."""
        return 0.0

    def gradients(self, member: Member) -> None:
        """Between backward and step: the member's gradients may be changed in place."""

    def finish(self, member: Member) -> None:
        """After the member's last step, before its module is taken out and stored."""
