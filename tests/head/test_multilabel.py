"""Several labels: as transformers, torch and scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import log_loss
from transformers import BertConfig, BertForSequenceClassification

from continual.head.multilabel import Multilabel
from continual.score.micro_f1 import MicroF1
from continual.stream.base import Example
from continual.stream.units import collate, join
from tests.head import samples

LABELS = ("a", "b", "c", "d")
HEAD = Multilabel()


def test_loss_is_that_of_transformers() -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                   num_labels=4, problem_type="multi_label_classification")
    ).eval()  # fmt: skip
    ids, targets = torch.randint(4, 30, (5, 7)), torch.randint(0, 2, (5, 4)).float()
    wanted = model(ids, labels=targets)
    p = {"weight": model.classifier.weight, "bias": model.classifier.bias}
    logits = HEAD.logits(p, model.bert(ids).pooler_output, torch.ones_like(ids))
    loss = HEAD.loss(logits, targets, torch.arange(5), torch.zeros(5))
    assert torch.allclose(loss.mean(), wanted.loss, atol=1e-6)


def test_each_row_has_the_log_loss_of_its_labels() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(6, 4, generator=rng, dtype=torch.double)
    targets = torch.randint(0, 2, (6, 4), generator=rng).float()
    loss = HEAD.loss(logits, targets, torch.arange(6), torch.zeros(6))
    for row in range(6):
        assert abs(loss[row] - log_loss(targets[row].numpy(), logits[row].sigmoid().numpy(), labels=[0, 1])) < 1e-9
    soft = torch.nn.MultiLabelSoftMarginLoss(reduction="none")
    assert torch.allclose(loss, soft(logits, targets.double()))


def test_labels_hold_above_one_half() -> None:
    logits = torch.tensor([[-1.0, 0.0, 1e-3, float("-inf")], [-1, -1, -1, -1], [1, 1, 1, 1]])
    assert HEAD.decode(logits, [None] * 3, torch.arange(3)) == [(2,), (), (0, 1, 2, 3)]


def test_targets_say_which_labels_hold() -> None:
    data = samples.reader()([Example("w1", (3, 0)), Example("w2", ())], HEAD, LABELS)
    assert torch.as_tensor(data.targets).tolist() == [[1, 0, 0, 1], [0, 0, 0, 0]]
    assert data.wanted == ((0, 3), ())
    found = HEAD.decode(20.0 * torch.as_tensor(data.targets) - 10, [None] * 2, torch.arange(2))
    stats = MicroF1().rows(found, data.wanted, LABELS)
    assert MicroF1().total(stats.sum(0)) == 1


def test_beside_a_wider_head_a_row_keeps_its_loss_and_gradient() -> None:
    """Two members with 4 and 2 labels in one batch: the narrow one's logits are filled up with -inf."""
    wide = samples.reader()([Example("w1", (3, 0))], HEAD, LABELS)
    narrow = samples.reader()([Example("w2", (1,))], HEAD, ("x", "y"))
    targets = join([collate(wide, [0]), collate(narrow, [0])], pad=0).targets[HEAD.path()]
    assert targets.tolist() == [[1, 0, 0, 1], [0, 1, -1, -1]]
    own = torch.tensor([[0.3, -2.0, 1.0, 0.1], [0.7, -0.4, 0.0, 0.0]], requires_grad=True)
    logits = own.masked_fill(torch.tensor([[False] * 4, [False, False, True, True]]), float("-inf"))
    loss = HEAD.loss(logits, targets, torch.arange(2), torch.tensor([0, 1]))
    plain = torch.nn.functional.binary_cross_entropy_with_logits
    assert torch.allclose(loss[1], plain(torch.tensor([0.7, -0.4]), torch.tensor([0.0, 1.0])))
    (gradient,) = torch.autograd.grad(loss.sum(), own)
    assert gradient.isfinite().all()
    assert gradient[1].count_nonzero() == 2


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (1, "expected a tuple of labels, got 1 (int)"),
        ([1], "expected a tuple of labels, got [1] (list)"),
        ((0, 4), "expected labels from 0 to 3, got 4"),
        ((-1,), "expected labels from 0 to 3, got -1"),
        ((True,), "expected labels from 0 to 3, got True"),
        ((1, 2, 1), "expected each label once, got (1, 2, 1)"),
    ],
)
def test_bad_labels_are_told(label: object, told: str) -> None:
    assert HEAD.problem(Example("w1", label), LABELS) == told
