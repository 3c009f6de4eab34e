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
from tests import tiny


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 on transformers 5.24
@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(("rank", "alpha", "targets"), [(4, 8.0, ("query", "value")), (2, 3.0, ("key",))])
def test_answers_and_gradients_equal_peft(family: str, rank: int, alpha: float, targets: tuple[str, ...]) -> None:
    encoder = tiny.encoder(family)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.0)
    theirs = peft.get_peft_model(copy.deepcopy(encoder.model), config).eval()
    model = AdaptedEncoder(encoder)
    adapter = tiny.trained(LoRA(rank, alpha, targets=targets), model)
    model.load([adapter], train=[0])

    def their(address: str, name: str) -> torch.nn.Parameter:
        layer, site = address.split("/")
        path = f"base_model.model.encoder.layer.{layer}.attention.self.{site}.lora_{name.upper()}.default.weight"
        return theirs.get_parameter(path)

    pairs = [(a, n) for a, p in adapter.params.items() for n in p if n in ("a", "b")]
    assert len(pairs) == 2 * 2 * len(targets)
    with torch.no_grad():
        for address, name in pairs:
            their(address, name).copy_(adapter.params[address][name])

    batch = tiny.batch()
    ours = model(batch)
    reference = theirs(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    assert tiny.gap(ours, reference) <= 1e-6

    weight = torch.randn_like(ours)
    (ours * weight).mean().backward()
    (reference * weight).mean().backward()
    for address, name in pairs:
        [group] = model.sites[address].groups
        assert group.stack[name].grad.any()
        assert tiny.gap(group.stack[name].grad[0], their(address, name).grad) <= 1e-6


def test_a_rank_the_site_cannot_have_is_refused() -> None:
    with pytest.raises(ContinualError, match=r"method\.rank must be at least 1, got 0"):
        named("lora", {"rank": 0})
    with pytest.raises(ContinualError, match=r"method\.rank is 33, above the site's width 32"):
        tiny.trained(LoRA(rank=33), tiny.adapted())
