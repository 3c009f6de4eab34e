"""Stretches of a text, one a module: by tokens or by shares, in any precision, wherever the padding is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from continual.adapter import Adapter
from continual.composition.split import Split
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.types import Batch
from tests import tiny


def members(model: AdaptedEncoder, count: int = 3) -> list[Adapter]:
    kinds = [Bottleneck(4), LoRA(rank=2, targets=("ffn_norm",)), Bottleneck(8), LoRA(rank=1, targets=("ffn_norm",))]
    return [tiny.trained(kinds[i], model, i) for i in range(count)]


def owners(model: AdaptedEncoder, batch: Batch, address: str = "0/ffn_norm") -> list[list[int]]:
    """For each row the module of each of its tokens, by the mixer's weights; exactly one has weight one."""
    seen: list[Tensor] = []
    mixer, site = model.mixers()[address], model.sites[address]
    handle = mixer.register_forward_hook(lambda m, args, _: seen.append(m.weights(*args)))
    model(batch)
    handle.remove()
    assert seen[0].sum(-1).unique().tolist() == [1.0]
    found = torch.tensor(site.members)[seen[0].argmax(-1)]
    assert batch.mask is not None
    return [row[mask.bool()].tolist() for row, mask in zip(found, batch.mask, strict=True)]


SHARED = {
    "equal": (Split(), [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 1, 1, 2]),
    "lengths": (Split(lengths=(4, 3)), [0, 0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 1]),
    "shares": (Split(shares=(0.5, 0.25)), [0, 0, 0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 2]),
    "nothing for the first": (Split(shares=(0.0, 1.0)), [1] * 9, [1] * 5),
    "longer than the text": (Split(lengths=(100, 1)), [0] * 9, [0] * 5),
}


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", SHARED)
def test_a_token_is_of_the_module_in_whose_stretch_it_is(case: str, dtype: torch.dtype) -> None:
    split, nine, five = SHARED[case]
    model = tiny.adapted(dtype=dtype)
    split.install(model, members(model), seed=0)
    found = owners(model, tiny.batch(rows=2, tokens=9, short=5))
    assert found == [five, nine]  # the first row has five tokens


@torch.no_grad()
def test_padding_before_the_text_moves_no_stretch() -> None:
    model, batch = tiny.adapted(), tiny.batch(rows=2, tokens=9, short=9)
    Split().install(model, members(model), seed=0)
    assert batch.mask is not None
    left = replace(
        batch,
        inputs=torch.nn.functional.pad(batch.inputs, (4, 0)),
        mask=torch.nn.functional.pad(batch.mask, (4, 0)),
    )
    assert owners(model, left) == owners(model, batch)


@torch.no_grad()
def test_a_stretch_has_its_own_module_s_delta_and_no_other() -> None:
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch(rows=2, tokens=6, short=6)
    several = members(model)
    Split(lengths=(2, 2)).install(model, several, seed=0)
    site = model.sites["1/ffn_norm"]
    x = torch.randn(2, 6, model.width, dtype=torch.float64)
    y, model.route.mask = x.tanh(), batch.mask
    found = site.delta(x, y)
    model.route.mask = None
    for member, adapter in enumerate(several):
        own = slice(2 * member, 2 * member + 2)
        wanted = adapter.method.delta(adapter.params["1/ffn_norm"], x, y)
        assert tiny.gap(found[:, own], wanted[:, own]) <= 1e-12


@torch.no_grad()
def test_a_module_that_is_absent_at_a_site_leaves_its_stretch_as_it_is() -> None:
    model, batch = tiny.adapted(), tiny.batch(rows=2, tokens=6, short=6)
    several = [tiny.trained(Bottleneck(8), model), tiny.trained(LoRA(rank=2, targets=("query",)), model)]
    Split(lengths=(2,)).install(model, several, seed=0)
    mixer = model.mixers()["0/ffn_norm"]
    y = torch.zeros(2, 6, model.width)
    assert mixer.weights(y, y, batch.mask, None)[0, :, 0].tolist() == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("lengths", "shares", "said"),
    [
        ((1, 2), (0.5,), "has lengths and shares; give one"),
        ((-1,), (), "lengths must be 0 or more"),
        ((), (0.7, 0.4), "sum of at most 1"),
        ((), (-0.1,), "shares must be 0 or more"),
        ((), (float("nan"),), "shares must be 0 or more"),
    ],
)
def test_stretches_that_make_no_sense_are_refused(
    lengths: tuple[int, ...], shares: tuple[float, ...], said: str
) -> None:
    with pytest.raises(ContinualError, match=said):
        Split(lengths=lengths, shares=shares)


@pytest.mark.parametrize("split", [Split(lengths=(2,)), Split(shares=(0.2, 0.2, 0.2))], ids=["lengths", "shares"])
def test_stretches_for_another_number_of_modules_are_refused(split: Split) -> None:
    model = tiny.adapted()
    with pytest.raises(ContinualError, match="expected one for each of 3 modules but the last"):
        split.install(model, members(model), seed=0)
