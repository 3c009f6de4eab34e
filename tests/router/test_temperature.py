"""The temperature is fitted on held-out rows of the task just learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from continual.router.mahalanobis import Mahalanobis
from continual.router.mixture import Mixture
from continual.router.oracle import Oracle

from .rows import query, shown


def test_it_minimises_the_smoothed_loss_of_the_task() -> None:
    known = shown(Mahalanobis())
    rows = query(per_task=60, only=1)
    scores = known.scores(rows).numpy()
    rival = np.delete(scores, 1, 1).max(1)
    sure = (len(scores) + 1) / (len(scores) + 2)

    def loss(log_t: float) -> float:
        z = scores / np.exp(log_t)
        top = z.max(1)
        total = top + np.log(np.exp(z - top[:, None]).sum(1))
        return float((total - (sure * scores[:, 1] + (1 - sure) * rival) / np.exp(log_t)).mean())

    wanted = np.exp(minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded").x)
    assert known.calibrated("reviews", rows).temperature == pytest.approx(wanted, rel=0.06)  # the grid's step


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_scores_in_another_unit_give_the_same_probabilities(factor: float) -> None:
    known, rows = shown(Mahalanobis()), query(per_task=60, only=1)

    class Scaled(Mahalanobis):
        def scores(self, known, query):
            return factor * super().scores(known, query)

    scaled = replace(known, router=Scaled())
    assert scaled.calibrated("reviews", rows).temperature == pytest.approx(
        factor * known.calibrated("reviews", rows).temperature, rel=0.06
    )


def test_rows_that_cannot_be_routed_to_the_task_tell_nothing() -> None:
    known, rows = shown(Mixture(top=1)), query(only=1)
    assert known.calibrated("reviews", rows) == known  # one candidate: no rival
    assert shown(Oracle()).calibrated("reviews", rows).temperature == 1.0


def test_rows_routed_right_without_exception_do_not_drive_it_to_nothing() -> None:
    known = shown(Mahalanobis())
    rows = query(per_task=60, only=0)
    right = replace(rows, features=rows.features[known.scores(rows).argmax(1) == 0])
    assert 0.01 < known.calibrated("news", right).temperature < 100


def test_no_held_out_row_leaves_it_as_it_is() -> None:
    known = replace(shown(Mahalanobis()), temperature=3.0)
    none = replace(query(), features=query().features[:0])
    assert known.calibrated("news", none).temperature == 3.0
    assert torch.equal(known.scores(none), torch.zeros(0, 3, dtype=torch.float64))
