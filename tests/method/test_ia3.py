"""IA³ equals that of ``peft``: answers, gradients and merged weights."""

from __future__ import annotations

import copy

import peft
import pytest
import torch

from continual.encoder.adapted import AdaptedEncoder
from continual.method.ia3 import IA3
from tests import tiny

# What peft's default for BERT, "key", "value" and "output.dense", matches: attention.output.dense is one of them.
PEFT = IA3(targets=("key", "value", "attn_act", "ffn_act"))
MODULES = {
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attn_act": "attention.output.dense",
    "ffn_act": "output.dense",
}


def both() -> tuple[AdaptedEncoder, peft.PeftModel]:
    """The same vectors here and there."""
    encoder = tiny.encoder("bert")
    theirs = peft.get_peft_model(copy.deepcopy(encoder.model), peft.IA3Config(task_type="FEATURE_EXTRACTION")).eval()
    model = AdaptedEncoder(encoder)
    adapter = tiny.trained(PEFT, model)
    model.load([adapter], train=[0])
    assert len(adapter.params) == 8 == sum("ia3_l" in name for name, _ in theirs.named_parameters())
    with torch.no_grad():
        for address, p in adapter.params.items():
            vector = their(theirs, address)
            vector.copy_((1 + p["shift"]).view_as(vector))
    return model, theirs


def their(model: peft.PeftModel, address: str) -> torch.nn.Parameter:
    layer, site = address.split("/")
    return model.get_parameter(f"base_model.model.encoder.layer.{layer}.{MODULES[site]}.ia3_l.default")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 on transformers 5.24
def test_answers_and_gradients_equal_peft() -> None:
    model, theirs = both()
    batch = tiny.batch()
    bare = theirs.get_base_model()
    ours = model(batch)
    reference = theirs(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state
    assert tiny.gap(ours, reference) <= 1e-5
    with theirs.disable_adapter():
        assert tiny.gap(ours, bare(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state) > 0.1

    weight = torch.randn_like(ours)
    (ours * weight).mean().backward()
    (reference * weight).mean().backward()
    for address in model.loaded[0].params:
        [group] = model.sites[address].groups
        assert group.stack["shift"].grad.any()
        assert tiny.gap(group.stack["shift"].grad[0], their(theirs, address).grad.flatten()) <= 1e-5


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_merged_weights_equal_those_of_peft() -> None:
    model, theirs = both()
    bare = copy.deepcopy(model.encoder)
    merged = theirs.merge_and_unload()
    for address, p in model.loaded[0].params.items():
        layer, site = address.split("/")
        path = f"encoder.layer.{layer}.{MODULES[site]}"
        module, wanted = bare.get_submodule(path), merged.get_submodule(path)
        fold = PEFT.fold_input if site.endswith("_act") else PEFT.fold
        weight, bias = fold(p, module.weight, module.bias)
        assert tiny.gap(weight, wanted.weight) <= 1e-6
        assert tiny.gap(bias, wanted.bias) <= 1e-6


def test_by_default_it_scales_keys_values_and_the_activation_between_the_feed_forward_linears() -> None:
    adapter = tiny.trained(IA3(), tiny.adapted())
    d, inner, layers = 32, 64, 2
    assert {address.split("/")[1] for address in adapter.params} == {"key", "value", "ffn_act"}
    assert adapter.size == layers * (2 * d + inner)
