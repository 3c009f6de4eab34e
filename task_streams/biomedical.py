"""Names in abstracts of medical papers by their type: BC5CDR, first chemicals, then diseases (class-incremental).

| task     | train: sentences / names | valid     | test          |
|----------|--------------------------|-----------|---------------|
| chemical | 2,045 / 2,635            | 227 / 245 | 4,797 / 5,385 |
| disease  | 2,045 / 2,865            | 227 / 323 | 4,797 / 4,424 |

Source: BC5CDR (Li et al. 2016, the BioCreative V task on chemicals and the diseases that they cause; 1,500 abstracts of
PubMed) as cambridgeltl/MTL-Bioinformatics-2016 has it (commit df0df02f, data/BC5CDR-IOB): tokenised, IOB2; CC BY 4.0.
Published: 4,560 sentences of train and 4,797 of test; test is used whole, train is cleaned as other corpora. The
published dev set is not part of this stream: valid is held out of train, so published runs had more rows to choose by.

Protocol as ``task_streams/ner.py``: a sentence of train belongs to one task, and names of the other type are O there;
both tasks have all sentences of test, each with its own names.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.stream.base import Task
from continual.stream.entities import by_type, marks, sentences, tagging, unseen
from continual.stream.order import arrange

TYPES = {"chemical": "Chemical", "disease": "Disease"}
SOURCE = "BC5CDR in cambridgeltl/MTL-Bioinformatics-2016@df0df02f; CC BY 4.0"


def tasks(
    order: int | Sequence[str] | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks chemical and disease, in ``order``.

    order        None: as listed; a list; an integer: random. With one of them alone, the task has all of train
    train, test  sentences of each task, random; None: all
    valid        sentences of valid, taken from the task's train; None: a tenth of it
    seed         of the dealing and of the subsets
    mirror       folder with bc5cdr/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown type, or data that cannot be had.
    """
    names = arrange(list(TYPES), order, what="type")
    groups = [[TYPES[name]] for name in names]
    splits = unseen({split: sentences(f"bc5cdr/{split}.tsv", mirror) for split in ("train", "test")})
    return [
        tagging(name, own, marks(group), train, valid, test, seed, SOURCE)
        for name, group, own in zip(names, groups, by_type(splits, groups, seed), strict=True)
    ]
