"""Names in news by their type: CoNLL-2003, class-incremental, a type of names at a time.

| task         | train: sentences / names | valid         | test          |
|--------------|--------------------------|---------------|---------------|
| person       | 3,122 / 2,472            | 3,041 / 1,836 | 3,453 / 1,617 |
| location     | 3,122 / 3,672            | 3,041 / 1,722 | 3,453 / 1,662 |
| organisation | 3,122 / 3,566            | 3,041 / 1,315 | 3,453 / 1,656 |
| misc         | 3,122 / 2,993            | 3,041 / 892   | 3,453 / 693   |

Source: CoNLL-2003 English (Tjong Kim Sang and De Meulder 2003) as CrossNER has it (zliucr/CrossNER, commit 2e7ba2a7,
ner_data/conll2003): IOB2, types person, location, organisation and misc; document lines are gone. Reuters news of RCV1,
for research only. Published are 14,041 / 3,250 / 3,453 sentences. Test is used whole, with what it has twice; train and
valid are cleaned as other corpora (repeated headlines and scores, and what is in test): 12,488 and 3,041 are left.

Protocol: of IL-LLM (Zheng et al. 2023) and CFNER (Zheng et al. 2022), which begin with ``base`` types and add
``increment`` in each task. Train is dealt to the tasks greedily, so that no sentence is in two
(``continual/stream/entities.py:dealt``); names of other tasks' types are O in it. Where we differ:
  test  theirs holds all types seen so far, so that one F1 says how all is remembered. Here a task's valid and test
    hold its own types only, as a cell of the matrix is of one task: all sentences, others' names O. Theirs leaves out
    sentences without a name of a type seen; here they stay, as finding a name where none is counts as an error.
  order  theirs is the alphabet, shuffled; here as listed, or ``order``.
So the tasks share their test sentences, each with its own labels: a router cannot tell them apart by the text.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.errors import DataError
from continual.stream.base import Task
from continual.stream.entities import by_type, marks, sentences, tagging, unseen
from continual.stream.order import arrange

TYPES = ("person", "location", "organisation", "misc")
FILES = {"train": "train", "valid": "dev", "test": "test"}
SOURCE = "CoNLL-2003 in zliucr/CrossNER@2e7ba2a7; Reuters RCV1, research only"


def tasks(
    base: int = 1,
    increment: int = 1,
    order: int | Sequence[str] | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """A task named after its types: person, location, organisation, misc; or, with increment=3, location-misc-….

    base, increment    types of the first task, and of each later one
    order              of the types: None: as listed; a list (names of those left out are O, everywhere); an integer
    train, valid, test sentences of each task, random; None: all
    seed               of the dealing and of the subsets; these also depend on the task's name, and on nothing else
    mirror             folder with crossner/; None: CONTINUAL_DATA
    Raises ContinualError: types that do not divide so, or data that cannot be had.
    """
    types = arrange(TYPES, order, what="type")
    if base < 1 or increment < 1 or base > len(types) or (len(types) - base) % increment:
        raise DataError(
            f"ner: cannot begin with base={base} of {len(types)} types and add increment={increment} a task; choose "
            f"base from 1 to {len(types)}, and an increment that divides the rest"
        )
    starts = [0, *range(base, len(types), increment)]
    groups = [sorted(types[a:b]) for a, b in zip(starts, [*starts[1:], len(types)], strict=True)]
    dealt = by_type(corpus(mirror), groups, seed)
    return [
        tagging("-".join(group), splits, marks(group), train, valid, test, seed, SOURCE)
        for group, splits in zip(groups, dealt, strict=True)
    ]


def corpus(mirror: str | None) -> dict[str, list]:
    """All splits with all types, cleaned; in ``test`` as published."""
    return unseen({split: sentences(f"crossner/conll2003/{file}.txt", mirror) for split, file in FILES.items()})
