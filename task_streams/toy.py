"""Generated tasks that a tiny encoder learns in seconds, for tests: no files, no licence, a few milliseconds.

A text is a bag of words of `WORDS`: most are filler that all tasks share; about a third are class words, of which three
in four point to the text's class and one to another class of the task. The best guess is right for most texts, not for
all. Each task has class words of its own as long as the vocabulary lasts (about four tasks), then they are used again.
"""

from __future__ import annotations

import numpy as np

from continual.errors import DataError
from continual.stream.base import Example, Task
from continual.stream.sample import draws

_STARTS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"]
_ENDS = ["ad", "ek", "im", "og", "un", "al", "er", "ist", "ol", "ump", "ar", "elt", "in", "osk", "ut"]
WORDS = [start + end for start in _STARTS for end in _ENDS]  # 210 lower-case words
_FILLER = 60  # of WORDS, the last; the others are class words
_PER_CLASS = 6


def tasks(
    count: int = 4,
    classes: int = 3,
    train: int = 96,
    valid: int = 24,
    test: int = 48,
    words: int = 12,
    seed: int = 0,
) -> list[Task]:
    """``count`` tasks named toy-0, toy-1, …; the last has half the train rows: the target of composition.

    classes  of the tasks in turn classes, classes + 1, classes, …
    words    in each text; no text occurs twice in a task
    Raises DataError when the arguments leave too few rows or words.
    """
    got = {"count": count, "classes": classes, "words": words, "train": train, "valid": valid, "test": test}
    split = classes + 1  # rows: one of each class, also where a task has a class more
    least = {"count": 1, "classes": 2, "words": 4, "train": 2 * split, "valid": split, "test": split}
    if low := [f"{key} >= {least[key]}, got {value}" for key, value in got.items() if value < least[key]]:
        raise DataError(f"toy: expected {'; '.join(low)} (a split has a row of each class, the last train half of it)")
    stream, used = [], 0
    for t in range(count):
        n_classes = classes + t % 2
        own = (used + np.arange(n_classes * _PER_CLASS)) % (len(WORDS) - _FILLER)
        used += own.size
        sizes = (train if t < count - 1 or count == 1 else train // 2, valid, test)
        rows = _rows(sum(sizes), own.reshape(n_classes, _PER_CLASS), words, (seed, t))
        splits = (rows[: sizes[0]], rows[sizes[0] : sizes[0] + valid], rows[sizes[0] + valid :])
        labels = tuple(f"class-{c}" for c in range(n_classes))
        stream.append(Task(f"toy-{t}", labels, *splits, source="generated"))
    return stream


def _rows(n: int, own: np.ndarray, words: int, key: tuple[int, int]) -> list[Example]:
    """``n`` different texts, their classes in turn; ``own`` (classes, 6) indexes the class words."""
    n_classes, spare = len(own), 2 * n  # twice as many as asked: equal ones are dropped
    kind, which, other = draws(3 * spare * words, "toy", *key).reshape(3, spare, words)
    label = np.arange(spare) % n_classes
    shift = 1 + other % (n_classes - 1)
    kind = kind % 100
    classed = kind < 32
    spoken = np.where(kind < 24, label[:, None], (label[:, None] + shift.astype(int)) % n_classes)
    filler = len(WORDS) - _FILLER + (which % _FILLER).astype(int)
    index = np.where(classed, own[spoken, (which % _PER_CLASS).astype(int)], filler)
    texts = {" ".join(WORDS[i] for i in row): int(c) for row, c in zip(index, label, strict=True)}
    return [Example(text, c) for text, c in list(texts.items())[:n]]
