"""Answers when the task is not given, and how they are counted: route, answer, and what the oracle would say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from continual.errors import ContinualError

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Account:
    """Of each row: whether it was routed to its own task; whether its own module and head answer it right, which is the
    oracle's answer; and whether the answer that was given is right.

    For every row, exactly: right = routed · within + lucky − lost.
    """

    routed: Flags
    within: Flags
    right: Flags

    def __post_init__(self) -> None:
        sizes = {len(self.routed), len(self.within), len(self.right)}
        if len(sizes) > 1 or sizes == {0}:
            raise ContinualError(f"an account needs a route, an oracle's and a given answer of every row, got {sizes}")

    def of(self, rows: Flags) -> Account:
        """Of some of the rows."""
        return Account(self.routed[rows], self.within[rows], self.right[rows])

    @property
    def lucky(self) -> Flags:
        """Right although the route or the own module is wrong: a label that several tasks have, or several modules."""
        return self.right & ~(self.routed & self.within)

    @property
    def lost(self) -> Flags:
        """Wrong although route and own module are right: another task's module prevailed in the mixture."""
        return self.routed & self.within & ~self.right

    @property
    def route(self) -> float:
        """Route accuracy: the share of rows that went to their own task (task prediction, TP)."""
        return float(self.routed.mean())

    @property
    def oracle(self) -> float:
        """Within-task accuracy: with the task given (WP, TIL accuracy). What ``total`` is compared with."""
        return float(self.within.mean())

    @property
    def total(self) -> float:
        """Class-incremental accuracy: the share of rows whose answer is right, the task not given."""
        return float(self.right.mean())

    @property
    def cells(self) -> dict[str, int]:
        """Rows by route and answer; they sum to all rows, and the right ones to those of ``total``.

        >>> yes, no = np.array([True]), np.array([False])
        >>> Account(routed=no, within=yes, right=no).cells
        {'routed right': 0, 'routed wrong': 0, 'misrouted right': 0, 'misrouted wrong': 1}
        """
        return {
            f"{way} {answer}": int((went & said).sum())
            for way, went in (("routed", self.routed), ("misrouted", ~self.routed))
            for answer, said in (("right", self.right), ("wrong", ~self.right))
        }


def answer(
    probabilities: Tensor,
    top: int,
    logits: Callable[[int, Tensor], Tensor],
    labels: Sequence[Sequence[str]],
) -> list[str]:
    """Of each row the label y with the largest P(y|x) = Σ_t P(t|x) P(y|x, t), over the ``top`` likeliest tasks.

    probabilities  (n, T) P(t|x)
    logits         (task, rows (m,)) -> (m, C_t): of these rows under the task's module and head
    labels         of each task; a label that several tasks have is one label, and gathers from all of them

    With top = 1 it is the answer of the likeliest task's own head. A tie goes to the label that comes first. A task
    without labels answers nothing: where only such tasks are likely, the answer is "".
    """
    names = list(dict.fromkeys(label for own in labels for label in own))
    number: Mapping[str, int] = {name: i for i, name in enumerate(names)}
    share, chosen = probabilities.double().topk(min(top, probabilities.shape[1]), 1)
    said = torch.zeros(len(probabilities), len(names), dtype=torch.float64)
    for task, own in enumerate(labels):
        if not own:
            continue
        rows, place = ((chosen == task) & (share > 0)).nonzero(as_tuple=True)
        if len(rows):
            within = logits(task, rows).double().softmax(1) * share[rows, place][:, None]
            columns = torch.tensor([number[label] for label in own])
            said[rows] = said[rows].index_add(1, columns, within)
    if not names:
        return [""] * len(said)
    return [
        names[i] if share > 0 else "" for i, share in zip(said.argmax(1).tolist(), said.amax(1).tolist(), strict=True)
    ]
