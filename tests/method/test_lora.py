"""LoRA equals that of ``peft``: answers and gradients, on two families."""

from __future__ import annotations

import copy

import peft
import pytest
import torch

from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.method import named
from continual.method.lora import LoRA
from continual.types import Shape
from tests import tiny

MODULES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attn_out": "attention.output.dense",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
}
ALL = tuple(MODULES)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 on transformers 5.24
@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(
    "method",
    [
        LoRA(4, 8.0),
        LoRA(2, 3.0, targets=("key",)),
        LoRA(8, 16.0, targets=ALL),
        LoRA(16, 8.0, rank_stabilized=True, targets=("query", "value", "ffn_in")),
        LoRA(32, 8.0, rank_stabilized=True, targets=ALL),
    ],
    ids=lambda method: f"{method.rank}-{','.join(method.targets)}",
)
def test_answers_and_gradients_equal_peft(family: str, method: LoRA) -> None:
    encoder = tiny.encoder(family)
    config = peft.LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,  # type: ignore[arg-type]
        use_rslora=method.rank_stabilized,
        target_modules=rf".*layer\.\d+\.({'|'.join(MODULES[target] for target in method.targets)})",
        lora_dropout=0.0,
    )
    theirs = peft.get_peft_model(copy.deepcopy(encoder.model), config).eval()
    model = AdaptedEncoder(encoder)
    adapter = tiny.trained(method, model)
    model.load([adapter], train=[0])

    def their(address: str, name: str) -> torch.nn.Parameter:
        layer, site = address.split("/")
        path = f"base_model.model.encoder.layer.{layer}.{MODULES[site]}.lora_{name.upper()}.default.weight"
        return theirs.get_parameter(path)

    pairs = [(a, n) for a, p in adapter.params.items() for n in p if n in ("a", "b")]
    assert len(pairs) == 2 * 2 * len(method.targets) == sum("lora" in name for name, _ in theirs.named_parameters())
    with torch.no_grad():
        for address, name in pairs:
            their(address, name).copy_(adapter.params[address][name])

    batch = tiny.batch()
    ours = model(batch)
    reference = theirs(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state
    assert tiny.gap(ours, reference) <= 1e-5

    weight = torch.randn_like(ours)
    (ours * weight).mean().backward()
    (reference * weight).mean().backward()
    for address, name in pairs:
        [group] = model.sites[address].groups
        assert group.stack[name].grad.any()
        assert tiny.gap(group.stack[name].grad[0], their(address, name).grad) <= 1e-5


@pytest.mark.parametrize(("rank", "stabilized", "scale"), [(4, False, 2.0), (4, True, 4.0), (16, True, 2.0)])
def test_the_scale_is_alpha_over_the_rank_or_its_root(rank: int, stabilized: bool, scale: float) -> None:
    p = LoRA(rank, alpha=8.0, rank_stabilized=stabilized).init(Shape(16, 16), torch.Generator())
    assert p["scale"].item() == scale


def test_a_rank_the_site_cannot_have_is_refused() -> None:
    with pytest.raises(ContinualError, match=r"method\.rank must be at least 1, got 0"):
        named("lora", {"rank": 0})
    with pytest.raises(ContinualError, match=r"method\.rank is 33, above the site's width 32"):
        tiny.trained(LoRA(rank=33), tiny.adapted())
