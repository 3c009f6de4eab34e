"""A task for every kind of head, in the words of the toy stream: each can be learned, and none by a bare head alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from continual.stream.base import Example, Image, Task
from continual.stream.sample import draws
from continual.task_streams.toy import WORDS

NAMES, REST = WORDS[:12], WORDS[40:]
SIZES = {"train": 24, "valid": 8, "test": 16}


def tasks(sizes: dict[str, int] = SIZES, heads: tuple[str, ...] = ()) -> list[Task]:
    """One of each kind, or of the kinds asked for."""
    return [_task(name, sizes) for name in heads or MADE]


def pictures(sizes: dict[str, int] = SIZES, name: str = "shades") -> Task:
    """Grey squares that are dark above or dark below."""
    rows = {}
    for part, count in sizes.items():
        rows[part] = []
        for number in range(count):
            rng = np.random.default_rng(int(draws(1, name, part, number)[0] % 2**32))
            pixels = rng.integers(128, 256, (20, 24, 3), dtype=np.uint8)
            pixels[:10] //= 1 + 3 * (number % 2)
            pixels[10:] //= 4 - 3 * (number % 2)
            rows[part].append(Example(Image(20, 24, pixels.tobytes()), number % 2))
    return Task(name, ("above", "below"), **rows)


def _task(kind: str, sizes: dict[str, int]) -> Task:
    labels, head, score, make = MADE[kind]
    rows = {
        part: [make(number, _picker(kind, part, number)) for number in range(count)] for part, count in sizes.items()
    }
    return Task(kind, labels, **rows, head=head, score=score)


def _picker(*key: str | int) -> Callable[..., list[str]]:
    """``pick(n)``: n different filler words, ``pick(n, NAMES)``: n of these; a function of the key."""
    numbers = iter(draws(400, *key).tolist())

    def pick(count: int, words: list[str] = REST) -> list[str]:
        left = list(words)
        return [left.pop(next(numbers) % len(left)) for _ in range(count)]

    return pick


def _classify(number: int, pick: Any) -> Example:
    return Example(" ".join([*pick(4), *pick(2, NAMES[3 * (number % 3) : 3 * (number % 3) + 3])]), number % 3)


def _pair(number: int, pick: Any) -> Example:
    """Whether the second text has a name."""
    second = pick(1, NAMES[:4]) if number % 2 else pick(1)
    return Example((" ".join(pick(4)), " ".join([*second, *pick(2)])), number % 2)


def _multilabel(number: int, pick: Any) -> Example:
    held = tuple(label for label in range(3) if number >> label & 1)
    return Example(" ".join([*pick(4), *(NAMES[label] for label in held)]), held)


def _regress(number: int, pick: Any) -> Example:
    names = number % 5
    return Example(" ".join([*pick(5 - names), *pick(names, NAMES[:6])]), names / 2)


def _tag(number: int, pick: Any) -> Example:
    words = [*pick(2), *pick(1, NAMES[:4]), *pick(1, NAMES[4:8]), *pick(1 + number % 3)]
    return Example(tuple(words), (0, 0, 1, 2, *(0,) * (1 + number % 3)))


def _span(number: int, pick: Any) -> Example:
    before, answer = " ".join(pick(2 + number % 3)), " ".join(pick(2, NAMES))
    return Example((" ".join(pick(2)), f"{before} {answer} {' '.join(pick(3))}"), ((len(before) + 1, answer),))


def _choice(number: int, pick: Any) -> Example:
    options = [" ".join(pick(2)) for _ in range(2 + number % 2)]
    right = number % len(options)
    options[right] = " ".join([*pick(1), *pick(1, NAMES[:6])])
    return Example((" ".join(pick(3)), *options), right)


def _retrieve(number: int, pick: Any) -> Example:
    shared = pick(2, NAMES[:8])
    return Example((" ".join(shared), " ".join([*pick(3), *shared])), None)


MADE: dict[str, tuple[tuple[str, ...], str, str, Callable[[int, Any], Example]]] = {
    "topic": (("a", "b", "c"), "classify", "", _classify),
    "pair": (("no", "yes"), "classify", "macro_f1", _pair),
    "marks": (("a", "b", "c"), "multilabel", "", _multilabel),
    "degree": ((), "regress", "", _regress),
    "names": (("O", "B-X", "I-X"), "tag", "", _tag),
    "answers": ((), "span", "", _span),
    "options": ((), "choice", "", _choice),
    "search": ((), "retrieve", "", _retrieve),
}
"""name -> labels, head, score, what makes row i out of words."""
