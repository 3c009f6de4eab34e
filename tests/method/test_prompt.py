"""Prompts equal those of ``peft``; each row has its own, and positions are as if it were alone."""

from __future__ import annotations

import copy

import peft
import pytest
import torch

from continual.adapter import EMBEDDING
from continual.encoder.adapted import AdaptedEncoder
from continual.method.lora import LoRA
from continual.method.prompt import Prompt
from tests import tiny


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 on transformers 5.24
@pytest.mark.parametrize("family", ["bert", "distilbert", "electra", "albert", "modernbert"])
def test_answers_and_gradients_equal_peft(family: str) -> None:
    encoder = tiny.encoder(family)
    width = encoder.model.get_input_embeddings().weight.shape[1]
    config = peft.PromptTuningConfig(
        task_type="FEATURE_EXTRACTION", num_virtual_tokens=5, token_dim=width, num_layers=2, num_attention_heads=4
    )
    theirs = peft.get_peft_model(copy.deepcopy(encoder.model), config).eval()
    model = AdaptedEncoder(encoder)
    adapter = tiny.trained(Prompt(5), model)
    model.load([adapter], train=[0])
    vectors = theirs.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        vectors.copy_(adapter.params[EMBEDDING]["prompt"])
    batch = tiny.batch()
    live = batch.mask.bool()
    wanted = theirs(input_ids=batch.inputs, attention_mask=batch.mask).last_hidden_state[:, 5:]  # ours has no prompts
    found = model(batch)
    assert tiny.gap(found[live], wanted[live]) <= 1e-5
    probe = torch.randn(found.shape) * live[..., None]
    (found * probe).sum().backward()
    (wanted * probe).sum().backward()
    ours = model.sites[EMBEDDING].stacks[0].stack["prompt"].grad[0]
    assert tiny.gap(ours, vectors.grad) <= 1e-4 * float(vectors.grad.abs().max())


@pytest.mark.parametrize("family", tiny.TEXTS[:10])
@torch.no_grad()
def test_prompts_of_unequal_length_share_a_batch_with_rows_that_have_none(family: str) -> None:
    """A shorter prompt's text stands where it would stand alone: its positions are its own."""
    model = tiny.adapted(family, torch.float64)
    adapters = [tiny.trained(m, model, i) for i, m in enumerate([Prompt(1), Prompt(6), LoRA(), Prompt(3)])]
    batch = tiny.batch(8)
    wanted = []
    for adapter in adapters:
        model.load([adapter])
        wanted.append(model(batch))
    model.load(adapters)
    batch.member = torch.arange(8) % 4
    found, live = model(batch), batch.mask.bool()
    for member in range(4):
        mine = batch.member == member
        assert tiny.gap(found[mine][live[mine]], wanted[member][mine][live[mine]]) < 1e-10


@torch.no_grad()
def test_segments_move_with_their_tokens() -> None:
    model, batch = tiny.adapted(), tiny.batch()
    model.load([tiny.trained(Prompt(2), model)])
    plain = model(batch)
    batch.segment = torch.zeros_like(batch.inputs)
    assert torch.equal(model(batch), plain)
    batch.segment[:, 3:] = 1
    assert tiny.gap(model(batch), plain) > 1e-3
