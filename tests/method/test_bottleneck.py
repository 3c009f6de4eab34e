"""The named forms of the bottleneck adapter, written out by hand around the frozen modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.adapter import Adapter
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.method import named
from continual.method.base import Params
from continual.method.bottleneck import Bottleneck
from tests import tiny

PFEIFFER = Bottleneck(4, activation="relu", scale=1.5)
HOULSBY = Bottleneck(4, activation="silu", targets=("attn_out", "ffn_out"))
BEHIND = Bottleneck(4, targets=("attn_post", "ffn_post"))
NORMED = Bottleneck(4, normalize=True, targets=("attn_post", "ffn_post"))


def bottleneck(p: Params, h: Tensor, f: Callable[[Tensor], Tensor], scale: float) -> Tensor:
    return scale * (f(h @ p["down"].T + p["down_bias"]) @ p["up"].T + p["up_bias"])


class PfeifferOutput(nn.Module):
    """In place of BERT's output block: out = LN(delta(LN(h + rho)) + h + rho), h the FFN's output, rho its input."""

    def __init__(self, block: nn.Module, p: Params) -> None:
        super().__init__()
        self.block, self.p = block, p

    def forward(self, hidden: Tensor, rho: Tensor) -> Tensor:
        h = self.block.dense(hidden)
        delta = bottleneck(self.p, self.block.LayerNorm(h + rho), F.relu, 1.5)
        return self.block.LayerNorm(delta + h + rho)


class HoulsbyOutput(nn.Module):
    """In place of BERT's output blocks, after attention and after the FFN: out = LN(h + delta(h) + rho)."""

    def __init__(self, block: nn.Module, p: Params) -> None:
        super().__init__()
        self.block, self.p = block, p

    def forward(self, hidden: Tensor, rho: Tensor) -> Tensor:
        h = self.block.dense(hidden)
        return self.block.LayerNorm(h + bottleneck(self.p, h, F.silu, 1.0) + rho)


class BehindOutput(nn.Module):
    """In place of BERT's output blocks: out = y + delta(y), y = LN(h + rho)."""

    def __init__(self, block: nn.Module, p: Params) -> None:
        super().__init__()
        self.block, self.p = block, p

    def forward(self, hidden: Tensor, rho: Tensor) -> Tensor:
        y = self.block.LayerNorm(self.block.dense(hidden) + rho)
        return y + bottleneck(self.p, y, F.relu, 1.0)


class NormedOutput(BehindOutput):
    """The same behind a LayerNorm of its own, whose weights are 1 and 0."""

    def forward(self, hidden: Tensor, rho: Tensor) -> Tensor:
        y = self.block.LayerNorm(self.block.dense(hidden) + rho)
        normed = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return y + bottleneck(self.p, normed, F.relu, 1.0)


FORMS = {
    "Pfeiffer": (PFEIFFER, PfeifferOutput),
    "Houlsby": (HOULSBY, HoulsbyOutput),
    "behind the norm": (BEHIND, BehindOutput),
    "normed": (NORMED, NormedOutput),
}


def by_hand(adapter: Adapter, output: Callable[[nn.Module, Params], nn.Module]) -> nn.Module:
    """The bare encoder with its output blocks replaced."""
    made = tiny.model("bert").eval()
    for address, p in adapter.params.items():
        layer = made.encoder.layer[int(address.split("/")[0])]
        owner = layer.attention if "attn" in address else layer
        owner.output = output(owner.output, p)
    return made


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_answers_equal_the_written_out_form(form: str) -> None:
    method, output = FORMS[form]
    model, batch = tiny.adapted(), tiny.batch()
    bare = model(batch)
    adapter = tiny.trained(method, model)
    model.load([adapter])
    wanted = by_hand(adapter, output)(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state
    assert tiny.gap(model(batch), wanted) <= 1e-6 * float(wanted.abs().max())
    assert tiny.gap(wanted, bare) > 0.1


@pytest.mark.parametrize("method", [PFEIFFER, HOULSBY, NORMED, Bottleneck(16), Bottleneck(64)])
def test_it_has_as_many_parameters_as_the_formula_says(method: Bottleneck) -> None:
    model: AdaptedEncoder = tiny.adapted()
    d, layers = 32, 2
    r = max(1, int(d // method.reduction_factor))
    assert tiny.trained(method, model).size == layers * len(method.targets) * (2 * d * r + r + d)


def test_arguments_it_cannot_have_are_refused() -> None:
    with pytest.raises(
        ContinualError, match=r"method\.activation 'swish'; choose from: gelu, gelu_tanh, leaky_relu, relu"
    ):
        named("bottleneck", {"activation": "swish"})
    with pytest.raises(ContinualError, match=r"method\.reduction_factor must be at least 1, got 0\.5"):
        named("bottleneck", {"reduction_factor": 0.5})
