"""CLINC150: 150 intents of ten domains, as ten tasks of 15 or fifteen tasks of 10, and questions that have none.

| by      | tasks × classes | train, valid, test of a task | which classes stand together        |
|---------|-----------------|------------------------------|-------------------------------------|
| domains | 10 × 15         | 1,500, 300, 450              | those of a domain, as published     |
| classes | 15 × 10         | 1,000, 200, 300              | any: dealt out by ``class_order``   |

Larson et al. 2019, CC BY 3.0: data/data_full.json and data/domains.json of github.com/clinc/oos-eval at 828f8093. 100
rows of train, 20 of valid and 30 of test for each intent; all splits are the official ones. Five rows of train go, as
they repeat another in other case or spacing. Texts are lower case, without punctuation.

15 × 10 is the usual class-incremental stream. The classes that stand together are a function of ``class_order`` alone,
and are not those of other code with the same seed. Domains are easier to tell apart than their intents are.

Out of scope are 1,200 questions that no intent answers (100 in train, 100 in valid, 1,000 in test): they are in no
task, ``out_of_scope`` gives them to those who measure routing. A mirror holds clinc150/data_full.json and domains.json.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.errors import unknown
from continual.stream.base import Example, Task
from continual.stream.classes import cut, divided, grouped
from continual.stream.clean import cleaned, indexed
from continual.stream.mirror import read_json
from continual.stream.order import arranged

SPLITS = {"train": "train", "valid": "val", "test": "test"}  # their names in the file
SOURCE = "CLINC150 (Larson et al. 2019), CC BY 3.0"


def tasks(
    by: str = "domains",
    size: int = 10,
    class_order: str | int | Sequence[str] | None = 0,
    order: str | int | Sequence[str] | None = None,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with random stratified subsets that depend on ``seed`` and the task's name alone.

    by           domains: a task each; or classes: tasks of ``size`` classes each, named classes-00, classes-01, …
    class_order  of the intents, for classes: an integer: random; a list of intents; None: domain after domain
    order        of the tasks: None: as they come; a list of their names; an integer: random
    shots        rows of train of each class; or
    train        rows of train in all, a task; None: all
    valid, test  rows of each task; None: all
    mirror       folder with clinc150/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown name or order, a size that does not fit, or data that cannot be had.
    """
    domains = read_json("clinc150/domains.json", mirror)
    labels = [intent for intents in domains.values() for intent in intents]
    whole = read_json("clinc150/data_full.json", mirror)
    rows = indexed(cleaned({split: _pairs(whole[key]) for split, key in SPLITS.items()}), labels)
    if by == "domains":
        found = divided(labels, rows, domains, source=SOURCE)
    elif by == "classes":
        found = grouped(labels, rows, size, class_order, source=SOURCE)
    else:
        raise unknown("by of stream clinc", by, ["domains", "classes"])
    return cut(arranged(found, order), train, valid, test, seed, shots)


def out_of_scope(split: str = "test", mirror: str | None = None) -> list[Example]:
    """The questions of no intent of a split (train, valid, test); the label, 0, means nothing."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    whole = read_json("clinc150/data_full.json", mirror)
    return [Example(text, 0) for text, _ in whole[f"oos_{SPLITS[split]}"]]


def _pairs(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(intent, text) for text, intent in rows]
