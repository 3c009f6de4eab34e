"""A merged module is in the weights: the encoder alone answers as with it, and unmerged as before, bit for bit."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel

from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.frozen import fingerprint
from continual.encoder.merge import merge, merged, unmerge
from continual.errors import ContinualError
from continual.method import named
from continual.method.base import Described
from continual.method.bitfit import BitFit
from continual.method.bottleneck import Bottleneck
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.method.prefix import Prefix
from tests import tiny

LINEARS = ("query", "key", "value", "attn_out", "ffn_in", "ffn_out")
FOLDABLE = [
    LoRA(targets=LINEARS),
    LoRA(rank=3, alpha=5.0, rank_stabilized=True, layers="0"),
    IA3(),
    IA3(targets=("key", "value", "ffn_in", "attn_act")),
    BitFit(),
    named(
        "bundle",
        {"methods": {"lora": {"targets": list(LINEARS)}, "ia3": {"targets": ["value", "ffn_act"]}, "bitfit": {}}},
    ),
]
FAMILIES = [f for f in tiny.FAMILIES if f != "deberta-v2"]


@pytest.mark.parametrize("method", FOLDABLE, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_encoder_alone_answers_as_with_the_module(family: str, method: Described) -> None:
    model, batch = tiny.adapted(family, torch.float64), tiny.batch_for(family)
    batch.inputs = batch.inputs.double() if family in tiny.IMAGES else batch.inputs
    adapter = tiny.trained(method, model)
    bare, before = model(batch), fingerprint(model.encoder)
    model.load([adapter])
    wanted = model(batch)
    model.load([])
    merge(model, adapter)
    assert model.describe() == "no adapter loaded"
    assert tiny.gap(model(batch), wanted) < 1e-10
    assert tiny.gap(wanted, bare) > 1e-3
    assert fingerprint(model.encoder) != before
    unmerge(model)
    assert torch.equal(model(batch), bare)
    assert fingerprint(model.encoder) == before


@torch.no_grad()
def test_the_encoders_own_parameters_come_back_themselves() -> None:
    model = tiny.adapted()
    own = dict(model.encoder.named_parameters())
    merge(model, tiny.trained(LoRA(), model))
    unmerge(model)
    unmerge(model)  # once more does nothing
    assert all(own[name] is parameter for name, parameter in model.encoder.named_parameters())


@torch.no_grad()
def test_another_module_can_act_on_a_merged_encoder() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    first, second = tiny.trained(LoRA(), model, 0), tiny.trained(LoRA(), model, 1)
    merge(model, first)
    once = model(batch)
    model.load([second])
    assert tiny.gap(model(batch), once) > 1e-3


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (Bottleneck(), "0/ffn_norm: what it reads or changes lies outside the module"),
        (Bottleneck(targets=("ffn_out",)), "0/ffn_out: bottleneck is not a linear function"),
        (Prefix(), "0/attention: it adds keys, values or vectors"),
        (named("parallel", {}), "0/ffn_parallel: what it reads"),
        (named("full", {}), "encoder/weights: it is no site"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_merged_is_refused_and_nothing_is_changed(method: Described, why: str) -> None:
    model = tiny.adapted()
    before = fingerprint(model.encoder)
    with pytest.raises(ContinualError, match=rf"cannot be merged at {why}.*load it instead"):
        merge(model, tiny.trained(method, model))
    assert fingerprint(model.encoder) == before
    assert not model.claim.originals


def test_weights_that_serve_relative_positions_too_are_refused() -> None:
    model = tiny.adapted("deberta-v2")
    with pytest.raises(ContinualError, match="0/query: the same weights serve relative positions"):
        merge(model, tiny.trained(LoRA(), model))
    merge(model, tiny.trained(LoRA(targets=("value", "ffn_in")), model))


def test_two_modules_are_not_merged_one_over_the_other() -> None:
    model = tiny.adapted()
    adapter = tiny.trained(LoRA(), model)
    merge(model, adapter)
    with pytest.raises(ContinualError, match="merged into this encoder already"):
        merge(model, adapter)


@torch.no_grad()
def test_a_merged_encoder_has_no_hook_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero overhead: not one delta is computed."""
    model = tiny.adapted()
    merge(model, tiny.trained(LoRA(), model))
    monkeypatch.setattr(LoRA, "delta", lambda *args: pytest.fail("a delta was computed"))
    assert isinstance(model, AdaptedEncoder)
    model(tiny.batch())


@pytest.mark.parametrize("family", ["bert", "modernbert", "vit"])
@torch.no_grad()
def test_a_merged_copy_is_a_plain_model_that_is_saved_and_read_by_transformers_alone(family: str, tmp_path) -> None:
    model, batch = tiny.adapted(family), tiny.batch_for(family)
    adapter = tiny.trained(LoRA(targets=LINEARS), model)
    bare = model(batch)
    model.load([adapter])
    wanted = model(batch)
    made = merged(model, adapter)
    assert torch.equal(model(batch), bare)
    assert not any(m._forward_hooks or m._forward_pre_hooks or "_site" in m.__dict__ for m in made.modules())
    made.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(
        tmp_path, **({"add_pooling_layer": False} if family != "modernbert" else {})
    ).eval()
    inputs = (
        {"pixel_values": batch.inputs} if family == "vit" else {"input_ids": batch.inputs, "attention_mask": batch.mask}
    )
    for plain in (made, again.eval()):
        assert tiny.gap(plain(**inputs).last_hidden_state, wanted) < 1e-4
