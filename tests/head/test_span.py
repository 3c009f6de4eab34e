"""The answer in a text: transformers' loss, a brute-force search, and windows that lose nothing."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForQuestionAnswering

from continual.encoder.load import load
from continual.errors import ContinualError
from continual.head.span import LONGEST, Span, _Mark
from continual.score.answer_f1 import AnswerF1
from continual.score.exact_match import ExactMatch
from continual.stream.base import Example
from continual.stream.text import Reader
from continual.stream.units import Encoded, collate
from tests.head import samples

HEAD = Span()
LONG = " ".join(samples.WORDS[:200])


def example(answer: str, context: str = LONG, question: str = "w301 w302") -> Example:
    return Example((question, context), ((context.index(answer), answer),))


def decode(data: Encoded, logits: Tensor) -> list[str]:
    return HEAD.decode(logits, list(data.marks or ()), data.units(range(len(data)))[1])


def told(data: Encoded) -> Tensor:
    """The logits of a head that knows the targets: 10 there, 0 elsewhere."""
    batch = collate(data, range(len(data)))
    return 10.0 * torch.nn.functional.one_hot(batch.targets[HEAD.path()], batch.inputs.shape[1]).transpose(1, 2)


def test_loss_is_that_of_transformers() -> None:
    torch.manual_seed(0)
    model = BertForQuestionAnswering(
        BertConfig(vocab_size=500, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ).eval()
    torch.nn.init.ones_(model.qa_outputs.bias)  # changes no loss and no answer
    data = samples.reader(32)([example("w40 w41"), example("w9", "w8 w9")], HEAD, ())
    batch = collate(data, [0, 1])
    hidden = model.bert(batch.inputs, attention_mask=batch.mask, token_type_ids=batch.segment).last_hidden_state
    logits = HEAD.logits({"weight": model.qa_outputs.weight}, hidden, batch.mask)
    _, rows = data.units([0, 1])
    losses = HEAD.loss(logits, batch.targets[HEAD.path()], rows, torch.zeros_like(rows))
    wanted: list[list[Tensor]] = [[], []]
    for unit, row in enumerate(rows.tolist()):  # one by one: transformers counts padding as possible answers
        start, end = torch.as_tensor(data.targets[unit]).view(2, 1)
        ids, segment = data.inputs[unit][None], data.segments[unit][None]
        wanted[row].append(model(ids, token_type_ids=segment, start_positions=start, end_positions=end).loss)
    assert [len(windows) for windows in wanted] == [int(data.first[1]), 1]
    assert torch.allclose(losses, torch.stack([sum(windows) / len(windows) for windows in wanted]), atol=1e-6)


def test_targets_are_the_first_answer_where_a_window_holds_all_of_it() -> None:
    # [CLS] q q [SEP] and 11 words of the context, 4 of them again in the next window
    row = Example(("w301 w302", LONG), ((LONG.index("w9"), "w9 w10"), (0, "w0")))
    data = samples.reader(16)([row], HEAD, ())
    assert [int(ids[4]) - 4 for ids in data.inputs[:3]] == [0, 7, 14]
    assert [torch.as_tensor(target).tolist() for target in data.targets[:3]] == [[13, 14], [6, 7], [0, 0]]
    split = samples.reader(16)([example("w8 w9 w10 w11")], HEAD, ())
    assert [torch.as_tensor(target).tolist() for target in split.targets[:3]] == [[0, 0], [5, 8], [0, 0]]
    assert data.wanted == (("w9 w10", "w0"),)
    assert data.truncated == split.truncated == 0


def test_an_answer_that_no_window_holds_and_a_question_that_was_cut_are_counted() -> None:
    rows = [example(" ".join(samples.WORDS[:12])), example("w7", question="w1 w2 w3 w4 w5 w6"), example("w7")]
    data = samples.reader(16)(rows, HEAD, ())
    assert data.truncated == 2
    assert all(torch.as_tensor(target).tolist() == [0, 0] for target in data.targets[: int(data.first[1])])
    assert [int(i) - 4 for i in data.inputs[int(data.first[1])][1:6]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("answer", ["w16", "w15 w16 w17", "w199", "w0"])
def test_an_answer_anywhere_in_a_long_text_is_found(answer: str) -> None:
    data = samples.reader(16)([example(answer)], HEAD, ())
    assert decode(data, told(data)) == [answer]
    assert ExactMatch().rows([answer], data.wanted, ())[0, 0] == AnswerF1().rows([answer], data.wanted, ())[0, 0] == 1


def test_the_answer_of_the_third_window_is_found_by_hand_made_logits() -> None:
    data = samples.reader(16)([example("w0")], HEAD, ())
    logits = torch.zeros(len(data.inputs), 16, 2)
    logits[2, 5, 0] = 5  # its second context token is word 15
    logits[2, 7, 1] = 5
    logits[4, 5, 0] = 8  # larger, but with no end
    assert decode(data, logits) == ["w15 w16 w17"]


def test_question_padding_and_special_tokens_are_never_answered() -> None:
    data = samples.reader(16)([example("w3", "w3 w4"), example("w5", "w5 w6 w7 w8")], HEAD, ())
    logits = torch.zeros(2, 11, 2)
    logits[:, :4] = logits[0, 6:] = logits[1, 8:] = 9
    logits[0, 5] = logits[1, 6] = 1
    assert decode(data, logits) == ["w4", "w7"]


def test_the_best_span_is_that_of_a_brute_force_search() -> None:
    rng = torch.Generator().manual_seed(0)
    rows = [example("w7", " ".join(samples.WORDS[:length])) for length in (8, 45, 60)]
    data = samples.reader(48)(rows, HEAD, ())
    units, owner = data.units(range(3))
    for draw in range(30):
        logits = torch.randn(len(units), 48, 2, generator=rng, dtype=torch.double) - draw % 5
        best: dict[int, tuple[float, str]] = {}
        for unit, row in zip(units, owner.tolist(), strict=True):
            words = [(p, s) for p, s in enumerate(data.marks[unit].spans) if s is not None]
            for start, first in words:
                for end, last in words:
                    if start <= end < start + LONGEST:
                        score = float(logits[unit, start, 0] + logits[unit, end, 1])
                        text = rows[row].text[1][first[0] : last[1]]
                        best[row] = max(best.get(row, (-9e9, "")), (score, text))
        assert decode(data, logits) == [best[row][1] for row in range(3)]


def test_an_answer_has_thirty_tokens_at_most() -> None:
    data = samples.reader(64)([example("w7", " ".join(samples.WORDS[:50]))], HEAD, ())
    logits = torch.zeros(1, 64, 2)
    logits[0, 4, 0] = 5
    logits[0, 4 + 29, 1] = 5
    assert decode(data, logits) == [" ".join(samples.WORDS[:30])]
    logits[0, 4 + 30, 1] = 6
    assert decode(data, logits) == [" ".join(samples.WORDS[:30])]


def test_no_answer_is_answered_only_where_the_task_has_such_questions() -> None:
    rows = [example("w16"), Example(("w301", LONG), ())]
    may = samples.reader(16)(rows, HEAD, ("none",))
    assert may.wanted == (("w16",), ())
    assert decode(may, told(may)) == ["w16", ""]
    must = samples.reader(16)([example("w16"), example("w17")], HEAD, ())
    logits = torch.zeros(len(must.inputs), 16, 2)
    logits[:, 0] = 50
    assert all(decode(must, logits))


def test_one_window_that_has_an_answer_outweighs_the_others() -> None:
    data = samples.reader(16)([example("w16")], HEAD, ("none",))
    logits = told(data)
    own = logits.argmax(1)[:, 0] != 0
    logits[~own, 0] = 50
    assert decode(data, logits) == ["w16"]
    logits[:, 0] = 11  # now position 0 beats it in its own window too
    assert decode(data, logits) == [""]


def test_an_empty_context_is_answered_with_nothing() -> None:
    data = samples.reader(16)([Example(("w1", ""), ()), Example(("w1", "w2"), ())], HEAD, ("none",))
    assert decode(data, torch.ones(2, 6, 2))[0] == ""


def test_text_is_cut_from_the_original() -> None:
    context = "  W1,\tw2  (w3)\nw4 "
    data = samples.reader(16)([Example(("w9", context), ((2, "W1,\tw2  (w3"),))], HEAD, ())
    assert decode(data, told(data)) == ["W1,\tw2  (w3"]
    around = samples.reader(16)([Example(("w9", context), ((0, "  W1"),))], HEAD, ())
    assert decode(around, told(around)) == ["W1"]
    spaced = _Mark("a b", (None, (0, 1), (1, 3), None), False)  # a token with the space before it, as GPT-2's
    assert HEAD.decode(torch.eye(4)[None, :, [2, 2]], [spaced], torch.zeros(1, dtype=torch.long)) == ["b"]


@pytest.mark.parametrize(
    ("text", "label", "why"),
    [
        ("w1 w2", ((0, "w1"),), "expected a question and its context, got 'w1 w2' (str)"),
        (("q",), ((0, "w1"),), "expected a question and its context, got ('q',) (tuple)"),
        (("q", "w1 w2"), ((3, "w1"),), "expected 'w1' at character 3, got 'w2'; it stands at character 0"),
        (("q", "w1 w2"), ((3, "w9"),), "expected 'w9' at character 3, got 'w2'; the context does not hold it"),
        (("q", "w1 w2"), ((4, "2 w"),), "expected '2 w' at character 4, got '2';"),
        (
            ("q", "w1 w2"),
            ((-2, "w2"),),
            "expected (first character, text) of an answer in 5 characters, got (-2, 'w2')",
        ),
        (("q", "w1 w2"), ((9, "w2"),), "expected (first character, text) of an answer in 5 characters, got (9, 'w2')"),
        (("q", "w1 w2"), ("w2",), "expected (first character, text) of an answer in 5 characters, got 'w2'"),
        (("q", "w1 w2"), ((2, " "),), "expected the text of an answer, got ' '"),
        (("q", "w1 w2"), ((0, ""),), "expected the text of an answer, got ''"),
        (("q", "w1 w2"), "w1", "expected a tuple of answers, got 'w1' (str)"),
        (("q", "w1 w2"), (), "expected an answer, got (); a task with questions that have none says so"),
    ],
)
def test_bad_rows_are_told(text: object, label: object, why: str) -> None:
    assert str(HEAD.problem(Example(text, label), ())).startswith(why)


def test_a_question_without_an_answer_is_fine_where_the_task_says_so() -> None:
    assert HEAD.problem(Example(("q", "w1"), ()), ("none",)) is None


def test_a_tokenizer_that_knows_no_positions_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ContinualError, match=r"expected a fast tokenizer .*got Slow"):
        Reader(Slow(), 16)([example("w1")], HEAD, ())


def test_windows_without_room_are_refused() -> None:
    assert len(samples.reader(7)([example("w1")], HEAD, ()).inputs) > 1
    with pytest.raises(ContinualError, match=r"got a length limit of 6; raise encoder\.max_length"):
        samples.reader(6)([example("w1")], HEAD, ())


@pytest.mark.real
@pytest.mark.parametrize(("language", "max_length"), [("en", 384), ("en", 64), ("es", 128)])
def test_real_answers_are_recovered_from_their_targets(language: str, max_length: int) -> None:
    try:
        encoder = load()
    except ContinualError as error:
        pytest.skip(f"the embedded encoder cannot be had here: {error}")
    root = Path(os.environ.get("CONTINUAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root / "xquad" / f"xquad.{language}.json.gz"
    if not path.is_file():
        pytest.skip("XQuAD is not at hand; set CONTINUAL_DATA to a folder with xquad/")
    rows = [
        Example((q["question"], p["context"]), tuple((a["answer_start"], a["text"]) for a in q["answers"]))
        for article in json.loads(gzip.decompress(path.read_bytes()))["data"]
        for p in article["paragraphs"]
        for q in p["qas"]
    ][:100]
    assert [HEAD.problem(row, ()) for row in rows] == [None] * 100
    data = Reader(encoder.tokenizer, max_length)(rows, HEAD, ())
    exact = 0
    for row in range(100):
        held = [
            (data.marks[unit], torch.as_tensor(data.targets[unit]).tolist())
            for unit in range(int(data.first[row]), int(data.first[row + 1]))
            if torch.as_tensor(data.targets[unit]).any()
        ]
        cut = {mark.context[mark.spans[start][0] : mark.spans[end][1]] for mark, (start, end) in held}
        assert len(cut) <= 1  # all windows that hold the answer say the same
        exact += cut == {rows[row].label[0][1]}
    print(f"{language}, {max_length} tokens: {exact} of 100 answers recovered, {data.truncated} lost")
    assert exact == 100
