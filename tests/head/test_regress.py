"""A number: as transformers and scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import mean_squared_error
from transformers import BertConfig, BertForSequenceClassification

from continual.head.regress import Regress
from continual.stream.base import Example
from tests.head import samples

HEAD = Regress()


def test_loss_is_that_of_transformers() -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                   num_labels=1, problem_type="regression")
    ).eval()  # fmt: skip
    ids, targets = torch.randint(4, 30, (5, 7)), 5 * torch.rand(5)
    wanted = model(ids, labels=targets)
    p = {"weight": model.classifier.weight, "bias": model.classifier.bias}
    logits = HEAD.logits(p, model.bert(ids).pooler_output, torch.ones_like(ids))
    loss = HEAD.loss(logits, targets, torch.arange(5), torch.zeros(5))
    assert torch.allclose(loss.mean(), wanted.loss, atol=1e-5)
    found = HEAD.decode(logits, [None] * 5, torch.arange(5))
    assert abs(mean_squared_error(targets.numpy(), found) - wanted.loss) < 1e-5


def test_answers_are_numbers_in_the_unit_of_the_labels() -> None:
    data = samples.reader()([Example("w1", 3), Example("w2", -0.25)], HEAD, ())
    assert data.wanted == (3.0, -0.25)
    assert HEAD.decode(torch.as_tensor(data.targets)[:, None], [None] * 2, torch.arange(2)) == [3.0, -0.25]


def test_in_half_precision_the_target_keeps_its_digits() -> None:
    targets = torch.tensor([4.999])
    loss = HEAD.loss(torch.tensor([[5.0]], dtype=torch.bfloat16), targets, torch.arange(1), torch.zeros(1))
    assert abs(loss.item() - 1e-6) < 1e-8


@pytest.mark.parametrize("label", [float("nan"), float("-inf"), "3", None, True, (1.0,), 1j])
def test_what_is_no_finite_number_is_told(label: object) -> None:
    told = f"expected a finite number, got {label!r} ({type(label).__name__})"
    assert HEAD.problem(Example("w1", label), ()) == told
