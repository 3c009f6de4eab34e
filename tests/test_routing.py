"""Rows whose task nobody gives are answered by P(y|x) = Σ_t P(t|x) P(y|x, t), and every row is accounted for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from continual.errors import ContinualError
from continual.routing import Account, answer

LABELS = (("a", "b"), ("c", "d", "b"))
ROWS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40)


def account(rows: list[tuple[bool, bool, bool]]) -> Account:
    routed, within, right = (np.array(column, dtype=bool) for column in zip(*rows, strict=True))
    return Account(routed, within, right)


@given(ROWS)
def test_every_row_is_right_as_route_and_module_and_luck_and_loss_say(rows: list[tuple[bool, bool, bool]]) -> None:
    one = account(rows)
    ties = one.routed.astype(int) * one.within + one.lucky - one.lost
    np.testing.assert_array_equal(ties, one.right.astype(int))
    assert sum(one.cells.values()) == len(rows)
    assert one.cells["routed right"] + one.cells["misrouted right"] == one.right.sum()
    assert one.total * len(rows) == pytest.approx(one.right.sum(), abs=1e-12)


def test_with_one_module_a_row_and_labels_of_one_task_each_total_is_route_and_within() -> None:
    one = account([(True, True, True), (True, False, False), (False, True, False), (False, False, False)])
    assert (one.route, one.oracle, one.total) == (0.5, 0.5, 0.25)
    assert not one.lucky.any()
    assert not one.lost.any()
    assert one.cells == {"routed right": 1, "routed wrong": 1, "misrouted right": 0, "misrouted wrong": 2}


def test_some_of_the_rows_are_an_account_too() -> None:
    one = account([(True, True, True), (False, True, False)])
    assert one.of(np.array([False, True])).route == 0.0


def test_rows_that_do_not_match_are_refused() -> None:
    with pytest.raises(ContinualError, match="of every row"):
        Account(np.ones(2, dtype=bool), np.ones(3, dtype=bool), np.ones(2, dtype=bool))
    with pytest.raises(ContinualError, match="of every row"):
        account([(True, True, True)]).of(np.array([False]))


def logits(rows: int = 25) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(rows, len(own), generator=rng) for own in LABELS]


def brute(likely: torch.Tensor, top: int, z: list[torch.Tensor]) -> list[str]:
    """The formula, row by row and label by label."""
    found = []
    for row in range(len(likely)):
        tasks = sorted(range(len(LABELS)), key=lambda t: -float(likely[row, t]))[:top]
        mass: dict[str, float] = {}
        for task in tasks:
            p = z[task][row].double().softmax(0)
            for label, share in zip(LABELS[task], p.tolist(), strict=True):
                mass[label] = mass.get(label, 0.0) + float(likely[row, task]) * share
        found.append(max(mass, key=lambda label: mass[label]))
    return found


@pytest.mark.parametrize("top", [1, 2, 9])
def test_the_answer_is_the_mixtures_likeliest_label(top: int) -> None:
    likely, z = torch.rand(25, 2, generator=torch.Generator().manual_seed(1)).softmax(1), logits()
    said = answer(likely, top, lambda task, rows: z[task][rows], LABELS)
    assert said == brute(likely, top, z)


def test_with_one_module_the_answer_is_that_of_the_likeliest_tasks_head() -> None:
    likely, z = torch.eye(2)[torch.arange(25) % 2], logits()
    wanted = [LABELS[t][int(z[t][row].argmax())] for row, t in enumerate(likely.argmax(1).tolist())]
    assert answer(likely, 1, lambda task, rows: z[task][rows], LABELS) == wanted


def test_a_label_that_both_tasks_have_gathers_from_both() -> None:
    z = [torch.tensor([[0.1, 0.0]]), torch.tensor([[0.1, -9.0, 0.0]])]
    assert answer(torch.tensor([[0.5, 0.5]]), 2, lambda task, rows: z[task][rows], LABELS) == ["b"]
    assert answer(torch.tensor([[0.5, 0.5]]), 1, lambda task, rows: z[task][rows], LABELS) == ["a"]


def test_modules_are_asked_for_the_rows_that_they_answer_alone() -> None:
    asked: list[tuple[int, list[int]]] = []
    z = logits(4)

    def said(task: int, rows: torch.Tensor) -> torch.Tensor:
        asked.append((task, rows.tolist()))
        return z[task][rows]

    answer(torch.eye(2)[[0, 1, 1, 0]], 1, said, LABELS)
    assert asked == [(0, [0, 3]), (1, [1, 2])]


def test_a_task_without_labels_answers_nothing() -> None:
    z = logits(2)
    likely = torch.tensor([[0.9, 0.1], [0.0, 1.0]])
    assert answer(likely, 1, lambda task, rows: z[task][rows], (LABELS[0], ()))[1] == ""
    assert answer(likely, 1, lambda task, rows: z[task][rows], ((), ())) == ["", ""]
