"""Whether a tweet is for or against something: five targets with the same labels, a domain-incremental stream.

| task     | train | valid | test | against, favor, none |
|----------|-------|-------|------|----------------------|
| abortion | 586   | 66    | 280  | 58, 18, 24 %         |
| atheism  | 461   | 52    | 220  | 63, 17, 20 %         |
| climate  | 354   | 40    | 169  | 5, 59, 36 %          |
| feminist | 597   | 67    | 284  | 54, 28, 18 %         |
| hillary  | 606   | 69    | 295  | 57, 16, 26 %         |

SemEval-2016 task 6 (Mohammad et al.) as TweetEval has it (Barbieri et al. 2020): datasets/stance of
github.com/cardiffnlp/tweeteval at 4fbd22cd; released without restrictions, but the terms of Twitter apply: research.
The splits are TweetEval's; cleaning takes 16 rows of train (14 of hillary) and one of test. Tweets end in #SemST.

The labels are none, against and favor in each task, skewed, and not everywhere alike. The score is ``macro_f1`` of all
three; TweetEval's is the mean F1 of against and favor alone, over all targets. The target itself is not in the text:
where the task is given it need not be, elsewhere it must be guessed. A mirror holds
tweeteval/stance/<target>/{train,val,test}_{text,labels}.txt.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.stream.base import Task
from continual.stream.clean import cleaned, indexed
from continual.stream.order import arrange
from continual.stream.sample import sized
from continual.stream.tweeteval import pairs

TARGETS = ("abortion", "atheism", "climate", "feminist", "hillary")
LABELS = ("none", "against", "favor")  # 0, 1, 2 in the files


def tasks(
    order: str | int | Sequence[str] | None = None,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with random stratified subsets that depend on ``seed`` and the task's name alone.

    order   None: as in the table; a list of targets; an integer: random
    shots   rows of train of each class; or
    train   rows of train in all; None: all
    valid   rows of valid; None: all
    test    rows of test; None: all
    mirror  folder with tweeteval/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown name or order, or data that cannot be had.
    """
    source = "SemEval-2016 task 6, in TweetEval; tweets, for research"
    result = []
    for name in arrange(TARGETS, order):
        found = cleaned(pairs(f"stance/{name}", LABELS, mirror))
        rows = sized(indexed(found, LABELS), train, valid, test, seed, name, shots)
        result.append(Task(name, LABELS, **rows, head="classify", score="macro_f1", source=source))
    return result
