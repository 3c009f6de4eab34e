"""Questions and answers as SQuAD has them; whole articles are held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from continual.errors import DataError
from continual.stream.base import Example, Stream
from continual.stream.lint import check
from continual.task_streams import squad

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: Any) -> str:
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(tmp_path / name)

    return write


def asked(question: str, *answers: tuple[int, str], **more: Any) -> dict[str, Any]:
    return {
        "id": question,
        "question": question,
        "answers": [{"answer_start": start, "text": text} for start, text in answers],
        **more,
    }


def data(*articles: list[tuple[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    return {
        "data": [
            {"title": str(i), "paragraphs": [{"context": context, "qas": qas} for context, qas in article]}
            for i, article in enumerate(articles)
        ]
    }


def corpus(articles: int, questions: int = 4) -> dict[str, Any]:
    """Two paragraphs an article."""
    return data(
        *(
            [
                (f"Town {a}{p} lies here.", [asked(f"q{a}{p}{q}", (0, f"Town {a}{p}")) for q in range(questions // 2)])
                for p in range(2)
            ]
            for a in range(articles)
        )
    )


def test_answers_are_pieces_of_the_context_each_once(write: Write) -> None:
    context = "Ås is a naïve 𝄞 town."
    qas = [asked("which?", (0, "Ås"), (0, "Ås"), (8, "naïve")), asked("what?", (14, "𝄞 town"))]
    path = write("a.json", data([(context, qas)]))
    [task] = squad.tasks({"t": {"train": path, "valid": path, "test": path}}, score="exact_match")
    assert list(task.train) == [
        Example(("which?", context), ((0, "Ås"), (8, "naïve"))),
        Example(("what?", context), ((14, "𝄞 town"),)),
    ]
    assert (task.labels, task.head, task.score) == ((), "span", "exact_match")


def test_questions_without_an_answer_give_the_task_a_label_for_that(write: Write) -> None:
    qas = [
        asked("which?", (0, "Ås")),
        asked("why?", is_impossible=True, plausible_answers=[{"text": "Ås", "answer_start": 0}]),
        asked("how?"),
    ]
    splits = ("train", "valid", "test")
    [task] = squad.tasks({"t": {part: write(f"{part}.json", data([(f"Ås is in {part}.", qas)])) for part in splits}})
    assert task.labels == ("none",)
    assert [row.label for row in task.train] == [((0, "Ås"),), (), ()]
    check(Stream("squad", (task,)))


@pytest.mark.parametrize("seed", range(5))
def test_a_context_is_in_one_split_only_and_so_is_its_article(write: Write, seed: int) -> None:
    [task] = squad.tasks([write("a.json", corpus(20))], seed=seed)
    contexts = [{row.text[1] for row in rows} for rows in task.splits.values()]
    articles = [{context[5:-12] for context in found} for found in contexts]
    for found in (contexts, articles):
        assert not (found[0] & found[1] | found[0] & found[2] | found[1] & found[2])
    assert [len(rows) for rows in task.splits.values()] == [56, 8, 16]
    assert check(Stream("squad", (task,))) == []


def test_a_context_that_two_articles_share_is_in_one_split_only(write: Write) -> None:
    articles = [[("Town lies here.", [asked(f"q{a}", (0, "Town"))])] for a in range(2)]
    [task] = squad.tasks(
        {
            "t": {
                "train": (
                    path := write(
                        "a.json",
                        data(*articles, *[[(f"Other {a} lies.", [asked(f"p{a}", (0, "Other"))])] for a in range(4)]),
                    )
                ),
                "valid": path,
            }
        },
        test=1,
    )
    assert not {row.text[1] for row in task.train} & {row.text[1] for row in task.test}


def test_the_split_and_the_subset_are_functions_of_seed_and_name(write: Write) -> None:
    path = write("a.json", corpus(20))
    digests = [squad.tasks([path], seed=seed)[0].digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    (whole,), (cut,) = squad.tasks([path]), squad.tasks([path], train=9)
    assert (cut.valid, cut.test, len(cut.train)) == (whole.valid, whole.test, 9)


def test_too_few_articles_to_hold_some_out_say_so(write: Write) -> None:
    with pytest.raises(DataError, match=r"cannot hold out 1 of 4 questions in 1 articles.*give files for valid"):
        squad.tasks([write("a.json", corpus(1))])


def test_answers_that_are_not_there_are_listed_with_their_number(write: Write) -> None:
    wrong = [asked(f"q{i}", (1, "Town")) for i in range(7)] + [asked("fine", (0, "Town")), asked("no", (0, "City"))]
    with pytest.raises(
        DataError, match=r"a\.json: 8 of 9 questions are wrong: 'q0': expected 'Town' at .*and 3 more"
    ) as e:
        squad.tasks([write("a.json", data([("Town lies here.", wrong)]))])
    assert "it stands at character 0" in str(e.value)
    assert str(e.value).count("expected 'Town'") == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ([], r"a\.json: expected an object with a list in 'data'"),
        ({"data": []}, "no questions"),
        ({"data": [{}]}, r"data\[0\]: expected an object with a list in 'paragraphs'"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\]\.paragraphs\[0\]: expected .* text in 'context'"),
        (data([("c", [{"question": "q"}])]), r"paragraphs\[0\]\.qas\[0\]: expected an object with a list in 'answers'"),
        (data([("c", [asked("q", ("0", "c"))])]), r"answers\[0\]: expected a whole number in 'answer_start', got '0'"),
        (data([("c", [asked("q", (0, 7))])]), r"answers\[0\]: expected an object with a text in 'text'"),
    ],
)
def test_what_has_another_form_is_named_with_its_place(write: Write, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        squad.tasks([write("a.json", content)])
