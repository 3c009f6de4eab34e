"""Dropout masks are a pure function of seed, step, row, site, position and channel."""

from __future__ import annotations

import pytest
import torch
from torch import Size, Tensor

from continual.encoder.noise import keep, keys

SHAPE = Size((8, 16, 64))


def mask(seed: int = 0, step: int = 0, site: int = 0, p: float = 0.2, shape: Size = SHAPE) -> Tensor:
    rows = torch.arange(shape[0])
    return keep(keys(torch.full_like(rows, seed), torch.full_like(rows, step), rows), shape, site, p)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_p_is_dropped_and_the_mean_stays_one(p: float) -> None:
    drawn = mask(p=p)
    deviation = (p * (1 - p) / drawn.numel()) ** 0.5
    assert float((drawn == 0).double().mean()) == pytest.approx(p, abs=4 * deviation)
    assert float(drawn.mean()) == pytest.approx(1.0, abs=4 * deviation / (1 - p))
    assert set(drawn.unique().tolist()) == {0.0, 1 / (1 - p)}


def test_the_same_place_gives_the_same_mask_whatever_pads_or_stands_beside_it() -> None:
    wide = mask(shape=Size((8, 40, 64)))
    assert torch.equal(mask(), mask())
    assert torch.equal(wide[:, :16], mask())
    assert torch.equal(mask(shape=Size((3, 16, 64))), mask()[:3])


@pytest.mark.parametrize("other", [{"site": 1}, {"step": 1}, {"seed": 1}], ids=str)
def test_masks_of_another_site_step_or_seed_are_uncorrelated(other: dict[str, int]) -> None:
    both = torch.stack([mask().flatten(), mask(**other).flatten()])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 4 / both.shape[1] ** 0.5


def test_rows_positions_and_channels_are_uncorrelated() -> None:
    drawn = mask()
    for shifted in (drawn.roll(1, 0), drawn.roll(1, 1), drawn.roll(1, 2)):
        both = torch.stack([drawn.flatten(), shifted.flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 4 / both.shape[1] ** 0.5
