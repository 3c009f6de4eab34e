"""The scaled parallel adapter, written out by hand around the frozen modules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual.errors import ContinualError
from continual.method import named
from continual.method.base import Params
from continual.method.parallel import Parallel
from tests import tiny


class Block(nn.Module):
    """In place of BERT's output block: out = LN(FFN(rho) + s U f(D rho) + rho)."""

    def __init__(self, block: nn.Module, p: Params) -> None:
        super().__init__()
        self.block, self.p = block, p

    def forward(self, hidden: Tensor, rho: Tensor) -> Tensor:
        p = self.p
        delta = p["scale"] * (F.relu(rho @ p["down"].T + p["down_bias"]) @ p["up"].T + p["up_bias"])
        return self.block.LayerNorm(self.block.dense(hidden) + delta + rho)


@pytest.mark.parametrize("method", [Parallel(), Parallel(4, scale=1.5, learn_scale=True)], ids=["fixed", "learned"])
@torch.no_grad()
def test_answers_equal_the_written_out_form(method: Parallel) -> None:
    model, batch = tiny.adapted(), tiny.batch()
    bare = model(batch)
    adapter = tiny.trained(method, model)
    model.load([adapter])
    by_hand = tiny.model("bert").eval()
    for number, layer in enumerate(by_hand.encoder.layer):
        layer.output = Block(layer.output, adapter.params[f"{number}/ffn_parallel"])
    wanted = by_hand(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state
    assert tiny.gap(model(batch), wanted) <= 1e-6 * float(wanted.abs().max())
    assert tiny.gap(wanted, bare) > 0.1


def test_the_scale_is_trained_where_it_is_asked_for() -> None:
    d, r, layers, batch = 32, 16, 2, tiny.batch()
    for learn in (False, True):
        model, method = tiny.adapted(), Parallel(learn_scale=learn)
        adapter = tiny.trained(method, model)
        assert adapter.size == layers * (2 * d * r + r + d + learn)
        model.load([adapter], train=[0])
        model(batch).pow(2).sum().backward()
        scale = model.sites["0/ffn_parallel"].groups[0].stack["scale"]
        assert scale.requires_grad == learn
        assert (scale.grad is not None) == learn


def test_arguments_it_cannot_have_are_refused() -> None:
    with pytest.raises(ContinualError, match=r"method\.activation 'swish'; choose from: gelu, gelu_tanh, leaky_relu"):
        named("parallel", {"activation": "swish"})
    with pytest.raises(ContinualError, match=r"method\.reduction_factor must be at least 1, got 0\.5"):
        named("parallel", {"reduction_factor": 0.5})
