"""BitFit equals an encoder whose own biases are other ones."""

from __future__ import annotations

import torch

from continual.method.bitfit import BitFit
from tests import tiny

MODULES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attn_out": "attention.output.dense",
    "attn_post": "attention.output.LayerNorm",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
    "ffn_post": "output.LayerNorm",
}


def test_answers_and_gradients_are_those_of_the_encoder_with_these_biases() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    bare = model(batch)
    adapter = tiny.trained(BitFit(targets=tuple(MODULES)), model)
    model.load([adapter], train=[0])
    by_hand = tiny.model("bert").eval().requires_grad_(False)
    biases = {}
    for address, p in adapter.params.items():
        layer, site = address.split("/")
        biases[address] = by_hand.get_parameter(f"encoder.layer.{layer}.{MODULES[site]}.bias")
        biases[address].add_(p["bias"]).requires_grad_()

    ours = model(batch)
    wanted = by_hand(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state
    assert tiny.gap(ours, wanted) <= 1e-5
    assert tiny.gap(ours, bare) > 0.1

    weight = torch.randn_like(ours)
    (ours * weight).mean().backward()
    (wanted * weight).mean().backward()
    for address, bias in biases.items():
        [group] = model.sites[address].groups
        assert tiny.gap(group.stack["bias"].grad[0], bias.grad) <= 1e-5


def test_by_default_every_bias_of_a_layer_is_trained_but_that_of_the_keys() -> None:
    model = tiny.adapted()
    adapter = tiny.trained(BitFit(), model)
    names = {name: tensor for name, tensor in model.weights.items() if ".layer." in name and name.endswith(".bias")}
    assert adapter.size == sum(t.numel() for name, t in names.items() if not name.endswith("key.bias"))


def test_a_bias_of_the_keys_changes_nothing() -> None:
    model, batch = tiny.adapted(dtype=torch.float64), tiny.batch()
    bare = model(batch)
    model.load([tiny.trained(BitFit(targets=("key",)), model)])
    assert tiny.gap(model(batch), bare) <= 1e-12
