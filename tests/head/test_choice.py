"""One of several options: as transformers' multiple choice, where all rows have as many; and where they have not."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import log_loss
from transformers import BertConfig, BertForMultipleChoice

from continual.head.choice import Choice
from continual.stream.base import Example
from continual.stream.units import collate
from tests.head import samples

HEAD = Choice()


def test_loss_and_answers_are_those_of_transformers() -> None:
    torch.manual_seed(0)
    model = BertForMultipleChoice(
        BertConfig(vocab_size=500, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ).eval()
    torch.nn.init.ones_(model.classifier.bias)  # changes no loss and no answer
    rows = [Example((f"w{n}", "w30 w31", f"w{n + 3} w4", "w5"), n % 3) for n in range(4)]
    data = samples.reader()(rows, HEAD, ())
    batch = collate(data, range(4))
    assert batch.segment is not None
    shape = (4, 3, batch.inputs.shape[1])
    wanted = model(
        batch.inputs.view(shape),
        attention_mask=batch.mask.view(shape),
        token_type_ids=batch.segment.view(shape),
        labels=torch.tensor([row.label for row in rows]),
    )
    pooled = model.bert(batch.inputs, batch.mask, batch.segment).pooler_output
    logits = HEAD.logits({"weight": model.classifier.weight}, pooled, batch.mask)
    _, example = data.units(range(4))
    losses = HEAD.loss(logits, batch.targets[HEAD.path()], example, torch.zeros(12))
    assert torch.allclose(losses.mean(), wanted.loss, atol=1e-6)
    assert HEAD.decode(logits, [None] * 12, example) == wanted.logits.argmax(1).tolist()


def test_rows_may_have_different_numbers_of_options() -> None:
    rows = [Example(("w1", "w2", "w3"), 1), Example(("w1", "w2", "w3", "w4", "w5"), 3), Example(("w1", "w2", "w3"), 0)]
    data = samples.reader()(rows, HEAD, ())
    assert data.first.tolist() == [0, 2, 6, 8]
    assert torch.as_tensor(data.targets).tolist() == [0, 1, 0, 0, 0, 1, 1, 0]
    assert data.wanted == (1, 3, 0)
    scores = torch.tensor([1.0, 3.0, 0.5, -80.0, 2.0, 0.7, 90.0, 90.0], dtype=torch.double)
    _, example = data.units(range(3))
    losses = HEAD.loss(scores[:, None], torch.as_tensor(data.targets), example, torch.zeros(8))
    for row, (a, b) in enumerate(zip(data.first, data.first[1:], strict=False)):
        chances = scores[a:b].softmax(0).numpy()[None]
        assert abs(losses[row] - log_loss([data.wanted[row]], chances, labels=range(int(b - a)))) < 1e-9
    assert HEAD.decode(scores[:, None], [None] * 8, example) == [1, 2, 0]


def test_scores_of_any_size_have_a_finite_loss_and_gradient() -> None:
    scores = torch.tensor([[1e4], [-1e4], [3e4], [3e4]], requires_grad=True)
    example = torch.tensor([0, 0, 1, 1])
    losses = HEAD.loss(scores, torch.tensor([0, 1, 1, 0]), example, torch.zeros(4))
    assert losses[0] == 2e4
    assert abs(losses[1] - torch.tensor(2.0).log()) < 1e-6
    (gradient,) = torch.autograd.grad(losses.sum(), scores)
    assert torch.allclose(gradient[:, 0], torch.tensor([1, -1, -0.5, 0.5]))


def test_each_option_is_read_behind_its_question() -> None:
    data = samples.reader()([Example(("w1", "w2", "w3 w4"), 0)], HEAD, ())
    assert [ids.tolist() for ids in data.inputs] == [[2, 5, 3, 6, 3], [2, 5, 3, 7, 8, 3]]
    assert data.segments is not None
    assert data.segments[1].tolist() == [0, 0, 0, 1, 1, 1]


def test_a_row_with_cut_options_is_counted_once() -> None:
    long = " ".join(samples.WORDS[:20])
    data = samples.reader()([Example(("w1", long, long), 0), Example(("w1", "w2", "w3"), 0)], HEAD, ())
    assert data.truncated == 1


@pytest.mark.parametrize(
    ("text", "label", "why"),
    [
        (("w1", "w2"), 0, "expected a question and at least two options, got ('w1', 'w2') (tuple)"),
        (("w1", "w2", 3), 0, "expected a question and at least two options, got 3 (int)"),
        (("w1", "w2", "w3"), 2, "expected an option from 0 to 1, got 2"),
        (("w1", "w2", "w3"), -1, "expected an option from 0 to 1, got -1"),
    ],
)
def test_bad_rows_are_told(text: object, label: object, why: str) -> None:
    assert HEAD.problem(Example(text, label), ()) == why
