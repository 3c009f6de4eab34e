"""One label: as transformers' sequence classification."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from continual.head.classify import Classify
from continual.stream.base import Example
from tests.head import samples

LABELS = ("no", "yes", "perhaps")


def test_loss_is_that_of_transformers() -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                   num_labels=3)
    ).eval()  # fmt: skip
    ids, labels = torch.randint(4, 30, (5, 7)), torch.tensor([0, 2, 1, 1, 0])
    wanted = model(ids, labels=labels)
    head, p = Classify(), {"weight": model.classifier.weight, "bias": model.classifier.bias}
    logits = head.logits(p, model.bert(ids).pooler_output, torch.ones_like(ids))
    rows = torch.arange(5)
    assert torch.allclose(logits, wanted.logits, atol=1e-6)
    assert torch.allclose(head.loss(logits, labels, rows, torch.zeros(5)).mean(), wanted.loss, atol=1e-6)
    assert head.decode(logits, [None] * 5, rows) == wanted.logits.argmax(1).tolist()


def test_a_pair_is_read_in_two_segments() -> None:
    data = samples.reader()([Example(("w1", "w2 w3"), 0), Example(("w4 w5", "w6"), 1)], Classify(), LABELS)
    assert [ids.tolist() for ids in data.inputs] == [[2, 5, 3, 6, 7, 3], [2, 8, 9, 3, 10, 3]]
    assert data.segments is not None
    assert [segment.tolist() for segment in data.segments] == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize("label", [-1, 3, 1.0, True, None, "no"])
def test_a_label_beyond_the_head_is_told(label: object) -> None:
    assert Classify().problem(Example("w1", label), LABELS) == f"expected a label from 0 to 2, got {label!r}"
