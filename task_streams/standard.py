"""The standard benchmark: topics and stars in four or five English tasks (Zhang et al. 2015; orders of several papers).

| task    | classes          | train / test here | in O-LoRA's runs |
|---------|------------------|-------------------|------------------|
| agnews  | 4 topics         | 1,600 / 1,000     | 4,000 / 7,600    |
| yelp    | 5 stars          | 1,500 / 1,000     | 5,000 / 7,600    |
| amazon  | 5 stars          | 2,000 / 1,000     | 5,000 / 7,600    |
| dbpedia | 14 kinds         | 2,000 / 1,000     | 14,000 / 7,600   |
| yahoo   | 10 topics        | 1,200 / 600       | 10,000 / 7,600   |

Files, licences, cleaning and quirks are those of ``task_streams/fifteen.py``: the rows are subsampled, so scores are
not comparable with published ones. valid is held out of train. MbPA++ and IDBR take other rows of the same data sets:
115,000 in all, 2,000 a class.

yelp and amazon have the same labels, by name and in the same order. With one head and no task id (MbPA++, LAMOL, IDBR)
the five tasks have 33 classes: ``continual/stream/classes.py:union`` of them. In the scenario "task" each has its own.

Orders
  order-1, order-2, order-3: four tasks without yelp (LFPT5, O-LoRA); read in O-LoRA's scripts.
  order-4, order-5, order-6, order-7: all five (IDBR; MbPA++'s iv, iii, ii, i). The first three were read in IDBR's
    README and in scripts of Progressive Prompts, order-7 in later code of MbPA++'s orders.
  idbr-1, idbr-2, idbr-3: three tasks (IDBR's orders 1 to 3, renamed as O-LoRA uses the numbers too). 1 and 2 are from
    memory but for the first, which is IDBR's example; 3 was read in scripts of Progressive Prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.stream.base import Task
from continual.stream.cl_benchmark import task
from continual.stream.order import arrange

NAMES = ("agnews", "yelp", "amazon", "dbpedia", "yahoo")

ORDERS = {
    "order-1": ("dbpedia", "amazon", "yahoo", "agnews"),
    "order-2": ("dbpedia", "amazon", "agnews", "yahoo"),
    "order-3": ("yahoo", "amazon", "agnews", "dbpedia"),
    "order-4": ("agnews", "yelp", "amazon", "yahoo", "dbpedia"),
    "order-5": ("yelp", "yahoo", "amazon", "dbpedia", "agnews"),
    "order-6": ("dbpedia", "yahoo", "agnews", "amazon", "yelp"),
    "order-7": ("yelp", "agnews", "dbpedia", "amazon", "yahoo"),
    "idbr-1": ("agnews", "yelp", "yahoo"),
    "idbr-2": ("yelp", "yahoo", "agnews"),
    "idbr-3": ("yahoo", "agnews", "yelp"),
}


def tasks(
    order: str | int | Sequence[str] | None = "order-1",
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with random stratified subsets that depend on ``seed`` and the task's name alone.

    order   of ``ORDERS``, each of which has its own tasks; a list; an integer: all five, random; None: all five
    shots   rows of train of each class; or
    train   rows of train in all; None: all
    valid   rows of valid, taken from train; None: a tenth of train
    test    rows of test; None: all
    mirror  folder with cl_benchmark/; None: CONTINUAL_DATA
    Raises ContinualError: an unknown name or order, or data that cannot be had.
    """
    return [task(name, shots, train, valid, test, seed, mirror) for name in arrange(NAMES, order, ORDERS)]
