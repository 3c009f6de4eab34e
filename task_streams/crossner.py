"""Names in six domains, each with types of its own: CrossNER, news first (domain-incremental).

| task       | types | train  | valid | test  |
|------------|-------|--------|-------|-------|
| conll2003  | 4     | 12,488 | 3,041 | 3,453 |
| politics   | 9     | 200    | 539   | 651   |
| science    | 17    | 194    | 434   | 543   |
| music      | 13    | 91     | 355   | 465   |
| literature | 12    | 100    | 400   | 416   |
| ai         | 14    | 100    | 347   | 431   |

Source: CrossNER (Liu et al. 2021, zliucr/CrossNER, commit 2e7ba2a7, ner_data): IOB2, types in lower case. It is
MIT; the five small domains are Wikipedia; conll2003 is Reuters news, for research only. Sentences as published, test
whole; train and valid are cleaned as other corpora (published: conll2003 14,041 / 3,250, politics 200 / 541, science
200 / 450, music 100 / 380, literature 100 / 400, ai 100 / 350).

The types organisation, person, location and misc are in every domain, others in some (country, event, award …). What is
a person in one domain is a politician, a writer or a researcher in another, annotated as the more special of the two:
the lint warns that tasks share labels and have others of their own. It also warns of science: train has no
I-chemicalelement, and one sentence of its test is in train of politics.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.stream.base import Task
from continual.stream.entities import sentences, tagging, tags, unseen
from continual.stream.order import arrange

DOMAINS = ("conll2003", "politics", "science", "music", "literature", "ai")
FILES = {"train": "train", "valid": "dev", "test": "test"}


def tasks(
    order: int | Sequence[str] | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The domains in ``order``, each with the tags that its files have.

    order              None: as listed; a list of domains, only these; an integer: random
    train, valid, test sentences of each task, random; None: all
    seed               of the subsets, which depend on it and the domain alone
    mirror             folder with crossner/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown domain, or data that cannot be had.
    """
    result = []
    for name in arrange(DOMAINS, order, what="domain"):
        splits = {split: sentences(f"crossner/{name}/{file}.txt", mirror) for split, file in FILES.items()}
        licence = "Reuters RCV1, research only" if name == "conll2003" else "MIT"
        source = f"{name} of zliucr/CrossNER@2e7ba2a7; {licence}"
        result.append(tagging(name, unseen(splits), tags(splits), train, valid, test, seed, source))
    return result
