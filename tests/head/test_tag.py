"""A label a word: as transformers' token classification; in windows no word is lost or answered twice."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers
from transformers import BertConfig, BertForTokenClassification

from continual.encoder.load import load
from continual.errors import ContinualError
from continual.head.tag import Tag, _first_tokens
from continual.stream.base import Example
from continual.stream.text import Reader, Window
from continual.stream.units import Encoded, collate
from tests.head import samples

LABELS = ("B-X", "O", "I-X")
HEAD = Tag()
READER = samples.reader(12)


def example(words: int) -> Example:
    return Example(tuple(samples.WORDS[:words]), tuple(number % 3 for number in range(words)))


def told(data: Encoded) -> list[tuple[int, ...]]:
    """The answers of a head that knows the targets, and says "I-X" wherever there is none."""
    batch = collate(data, range(len(data)))
    targets = batch.targets[HEAD.path()]
    logits = torch.nn.functional.one_hot(targets.where(targets >= 0, 2), 3).float()
    return HEAD.decode(logits, list(data.marks or ()), data.units(range(len(data)))[1])


def test_loss_of_a_row_is_that_of_transformers() -> None:
    torch.manual_seed(0)
    model = BertForTokenClassification(
        BertConfig(vocab_size=500, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                   num_labels=3)
    ).eval()  # fmt: skip
    p = {"weight": model.classifier.weight, "bias": model.classifier.bias}
    data = samples.reader(48)([example(4), example(9), example(1)], HEAD, LABELS)
    batch = collate(data, [0, 1, 2])
    hidden = model.bert(batch.inputs, attention_mask=batch.mask).last_hidden_state
    logits = HEAD.logits(p, hidden, batch.mask)
    rows = torch.arange(3)
    losses = HEAD.loss(logits, batch.targets[HEAD.path()], rows, torch.zeros(3))
    for row in range(3):
        one = collate(data, [row])
        ignored = one.targets[HEAD.path()].masked_fill(one.targets[HEAD.path()] < 0, -100)
        assert torch.allclose(losses[row], model(one.inputs, labels=ignored).loss, atol=1e-6)
    # With as many words in every row, transformers' mean over tokens is the mean over rows.
    assert HEAD.decode(logits, list(data.marks), rows)[0] == tuple(logits[0, 1:5].argmax(-1).tolist())


@pytest.mark.parametrize("words", [1, 9, 10, 11, 17, 18, 200])
def test_every_word_has_one_target_and_one_answer(words: int) -> None:
    data = READER([example(words)], HEAD, LABELS)
    assert all(len(ids) <= 12 for ids in data.inputs)
    assert sum(int((torch.as_tensor(target) >= 0).sum()) for target in data.targets) == words
    assert told(data) == list(data.wanted) == [example(words).label]


def test_the_first_window_that_has_a_word_answers_it() -> None:
    data = READER([example(15)], HEAD, LABELS)  # 10 words a window, 3 of them again in the next
    assert [int(ids[1]) - 4 for ids in data.inputs] == [0, 7]
    assert data.marks is not None
    assert [[word for _, word in mark.answers] for mark in data.marks] == [list(range(10)), list(range(10, 15))]
    assert torch.as_tensor(data.targets[1]).tolist() == [-1, -1, -1, -1, *(n % 3 for n in range(10, 15)), -1]


def test_the_loss_of_a_row_in_windows_is_the_mean_over_its_words() -> None:
    data = READER([example(15), example(2)], HEAD, LABELS)
    batch = collate(data, [0, 1])
    targets, (_, rows) = batch.targets[HEAD.path()], data.units([0, 1])
    logits = torch.randn(*targets.shape, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    each = [
        -logits[unit, token].log_softmax(-1)[targets[unit, token]] for unit, token in (targets >= 0).nonzero().tolist()
    ]
    losses = HEAD.loss(logits, targets, rows, torch.zeros(3))
    assert torch.allclose(losses, torch.stack([sum(each[:15]) / 15, sum(each[15:]) / 2]))


def test_a_token_belongs_to_the_word_of_its_last_character() -> None:
    words = ["New York", "is", "big"]  # "New York is big"
    spans = (None, (0, 3), (3, 8), (8, 9), (8, 10), (10, 11), (11, 15), None)
    window = Window(0, torch.arange(8), None, spans)
    assert _first_tokens(window, words) == [(1, 0), (4, 1), (6, 2)]  # (8, 9) is the space behind "York"
    assert _first_tokens(Window(0, torch.arange(2), None, ((1, 2), (2, 3))), ["?", "b"]) == [(1, 1)]


def test_a_word_without_a_token_is_answered_with_o() -> None:
    tokenizer = samples.tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("w2", "")
    data = Reader(tokenizer, 12)([Example(("w1", "w2", "w3"), (0, 0, 2))], HEAD, LABELS)
    assert told(data) == [(0, LABELS.index("O"), 2)]
    assert data.wanted == ((0, 0, 2),)
    nothing = Reader(tokenizer, 12)([Example(("w2",), (0,))], HEAD, LABELS)
    assert told(nothing) == [(1,)]
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    loss = HEAD.loss(logits, torch.stack(list(nothing.targets)), torch.zeros(1, dtype=torch.long), torch.zeros(1))
    assert loss.tolist() == [0.0]
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


def test_the_same_rows_under_other_names_of_labels_are_read_anew() -> None:
    reader, rows = samples.reader(12), [example(3)]
    assert reader(rows, HEAD, LABELS) is reader(rows, HEAD, LABELS)
    marks = [reader(rows, HEAD, labels).marks for labels in (LABELS, ("O", "B-X", "I-X"))]
    assert [mark.rest for noted in marks for mark in noted or ()] == [1, 0]


WORD = st.text(min_size=1, max_size=6).filter(lambda word: HEAD.problem(Example((word,), (0,)), LABELS) is None)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORD, min_size=1, max_size=30), st.integers(6, 14), st.data())
def test_whatever_the_words_there_is_an_answer_for_each(words: list[str], max_length: int, data: st.DataObject) -> None:
    tags = data.draw(st.lists(st.integers(0, 2), min_size=len(words), max_size=len(words)))
    read = Reader(samples.tokenizer(), max_length)([Example(tuple(words), tuple(tags))], HEAD, LABELS)
    (answers,) = told(read)
    assert len(answers) == len(words)
    assert read.marks is not None
    answered = [word for mark in read.marks for _, word in mark.answers]
    assert len(answered) == len(set(answered))
    assert all(answers[word] == tags[word] for word in answered)


@pytest.mark.parametrize(
    ("words", "tags", "why"),
    [
        ((), (), "expected a tuple of words, at least one, got ()"),
        ("a sentence", (0, 1), "expected a tuple of words, at least one, got 'a sentence'"),
        (("a", "b", "c"), (0, 1), "expected a label for each word, got 3 words and 2 labels"),
        (("a", " \t"), (0, 1), "expected words, got ' \\t' as word 1: nothing, or only spaces"),
        (("a", ""), (0, 1), "expected words, got '' as word 1"),
        (("a", "b"), (0, 3), "expected labels from 0 to 2, got 3 for word 1"),
        (("a", "b"), (0, True), "expected labels from 0 to 2, got True for word 1"),
        (("a", "b"), [0, 1], "expected a tuple of labels, one a word, got [0, 1] (list)"),
        (("a", "\ud800"), (0, 1), "expected whole characters, got '\\ud800'"),
    ],
)
def test_bad_rows_are_told(words: object, tags: object, why: str) -> None:
    assert str(HEAD.problem(Example(words, tags), LABELS)).startswith(why)


@pytest.mark.real
def test_each_word_of_real_sentences_has_one_label_under_a_real_tokenizer() -> None:
    try:
        encoder = load()
    except ContinualError as error:
        pytest.skip(f"the embedded encoder cannot be had here: {error}")
    root = Path(os.environ.get("CONTINUAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root / "crossner" / "conll2003" / "test.txt.gz"
    if not path.is_file():
        pytest.skip("CoNLL-2003 is not at hand; set CONTINUAL_DATA to a folder with crossner/")
    blocks = gzip.decompress(path.read_bytes()).decode().strip().split("\n\n")[:200]
    rows = [[line.split("\t") for line in block.split("\n") if "\t" in line] for block in blocks]
    labels = tuple(sorted({tag for row in rows for _, tag in row}))
    sentences = [Example(tuple(w for w, _ in row), tuple(labels.index(t) for _, t in row)) for row in rows]
    for max_length in (12, 32, 128):
        data = Reader(encoder.tokenizer, max_length)(sentences, HEAD, labels)
        for i, sentence in enumerate(sentences):
            units = range(int(data.first[i]), int(data.first[i + 1]))
            got = [t for unit in units for t in torch.as_tensor(data.targets[unit]).tolist() if t >= 0]
            assert tuple(got) == sentence.label
        logits = torch.nn.functional.one_hot(
            collate(data, range(len(data))).targets[HEAD.path()].clamp_min(0), len(labels)
        )
        assert HEAD.decode(logits, list(data.marks or ()), data.units(range(len(data)))[1]) == list(data.wanted)
