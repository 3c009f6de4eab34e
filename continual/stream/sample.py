"""Subsets and splits as pure functions of (seed, name): no generator is shared, so no call can shift another.

Randomness is the raw output of numpy's Philox bit generator, keyed by a hash: numpy promises to keep that
stream the same in all versions (`Generator` methods may change).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from continual.errors import DataError
from continual.files import canonical
from continual.stream.base import Example, Rows  # noqa: F401 (its doctests make rows)
from continual.stream.stored import Stored, labels_of, take


def draws(n: int, *key: str | int) -> np.ndarray:
    """(n,) uniform 64-bit integers, a function of ``key`` alone; the first n of more are the same.

    >>> draws(2, "subset", 0, "toy").tolist() == draws(5, "subset", 0, "toy")[:2].tolist()
    True
    >>> draws(1, "subset", 0, "toy").tolist() == draws(1, "subset", 1, "toy").tolist()
    False
    """
    digest = hashlib.sha256(canonical(list(key))).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(n)


def subset(rows: Rows, n: int | None, seed: int, name: str) -> Rows:
    """``n`` random rows in their old order, classes in proportion; each class keeps a row when n >= classes.

    ``None`` or n >= len(rows): all rows. Raises DataError for a negative n.

    >>> rows = [Example(f"text {i}", i % 2) for i in range(10)]
    >>> [row.label for row in subset(rows, 4, seed=0, name="toy")].count(1)
    2
    >>> subset(rows, 4, 0, "toy") == subset(rows, 4, 0, "toy") != subset(rows, 4, 1, "toy")
    True
    """
    if n is None or n >= len(rows):
        return rows if isinstance(rows, Stored) else list(rows)
    if n < 0:
        raise DataError(f"{name}: expected a number of rows >= 0, or None for all, got {n}")
    taken = _take(rows, n, draws(len(rows), "subset", seed, name), keep_one=False)
    return take(rows, np.flatnonzero(taken))


def few(rows: Rows, shots: int | None, seed: int, name: str) -> Rows:
    """``shots`` random rows of each class in their old order, all of a class that has fewer; fewer shots are of more.

    ``None``: all rows. Raises DataError for shots < 1, and for rows that have no class.

    >>> rows = [Example(f"text {i}", i % 2) for i in range(10)]
    >>> [row.label for row in few(rows, 3, seed=0, name="toy")].count(1)
    3
    >>> set(few(rows, 2, 0, "toy")) < set(few(rows, 3, 0, "toy"))
    True
    """
    if shots is None:
        return rows if isinstance(rows, Stored) else list(rows)
    if shots < 1 or not all(isinstance(label, Integral) for label in labels_of(rows)):
        raise DataError(f"{name}: expected shots >= 1, or null for all, and rows of one class each, got {shots=}")
    rank = _ranked(_classes(rows), draws(len(rows), "few", seed, name))
    return take(rows, np.flatnonzero(rank < shots))


def sized(
    rows: Mapping[str, Rows],
    train: int | None,
    valid: int | None,
    test: int | None,
    seed: int,
    name: str,
    shots: int | None = None,
) -> dict[str, Rows]:
    """All three splits of a task at the sizes asked for; None: all there are. A function of (seed, name) and ``rows``.

    A split that is not there is held out of train: test a fifth; valid so many rows, or a tenth for None. ``shots``:
    rows of train of each class, instead of ``train`` in all; DataError for both.

    >>> rows = {"train": [Example(f"text {i}", i % 2) for i in range(100)]}
    >>> {name: len(found) for name, found in sized(rows, None, None, 10, seed=0, name="toy", shots=5).items()}
    {'train': 10, 'valid': 8, 'test': 10}
    """
    if shots is not None and train is not None:
        raise DataError(f"{name}: give train={train} rows in all, or shots={shots} of each class, not both")
    pool, held, tested = rows["train"], rows.get("valid"), rows.get("test")
    if tested is None:
        pool, tested = split(pool, 0.2, seed, f"{name}/test")
    if held is None:
        pool, held = split(pool, 0.1 if valid is None else valid, seed, f"{name}/valid")
    return {
        "train": few(subset(pool, train, seed, f"{name}/train"), shots, seed, f"{name}/train"),
        "valid": subset(held, valid, seed, f"{name}/valid"),
        "test": subset(tested, test, seed, f"{name}/test"),
    }


def split(rows: Rows, valid: int | float, seed: int, name: str) -> tuple[Rows, Rows]:
    """(train, valid): ``valid`` rows, or a fraction of all rows when below 1; classes in proportion.

    Each class keeps at least one row in train, and has one in valid where it has two rows and valid has room.
    Raises DataError when valid does not leave train a row of each class.

    >>> train, valid = split([Example(f"text {i}", i % 2) for i in range(10)], 0.4, seed=0, name="toy")
    >>> len(train), [row.label for row in valid].count(0)
    (6, 2)
    """
    n = round(valid * len(rows)) if valid < 1 else int(valid)
    classes = len(np.unique(_classes(rows)))
    if not 0 <= n <= len(rows) - classes:
        raise DataError(
            f"{name}: cannot hold out {n} of {len(rows)} rows: train needs one row of each of its {classes} classes; "
            f"ask for {max(len(rows) - classes, 0)} or fewer"
        )
    taken = _take(rows, n, draws(len(rows), "split", seed, name), keep_one=True)
    return take(rows, np.flatnonzero(~taken)), take(rows, np.flatnonzero(taken))


def _take(rows: Rows, n: int, keys: np.ndarray, *, keep_one: bool) -> np.ndarray:
    """(len(rows),) which n rows are taken: of each class the ones with the smallest keys."""
    labels, counts = np.unique(_classes(rows), return_inverse=True, return_counts=True)[1:]
    rank = _ranked(labels, keys)
    high = counts - 1 if keep_one else counts
    return rank < _shares(counts, n, high)[labels]


def _ranked(labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(n,) the place of each row among those of its label, by key: 0, 1, …

    >>> _ranked(np.array([0, 1, 0, 1]), np.array([9, 5, 3, 7])).tolist()
    [1, 0, 0, 1]
    """
    order = np.lexsort((keys, labels))
    counts = np.unique(labels, return_counts=True)[1]
    starts = np.concatenate(([0], np.cumsum(counts)))[:-1]
    rank = np.empty(len(labels), dtype=int)
    rank[order] = np.arange(len(labels)) - np.repeat(starts, counts)
    return rank


def _classes(rows: Rows) -> NDArray[np.int64]:
    """What is kept in proportion: the labels where each row has one; else all rows are of one kind.

    >>> _classes([Example("a", 1), Example("b", 0)]), _classes([Example("a", (0, 1)), Example("b", (1,))])
    (array([1, 0]), array([0, 0]))
    """
    if all(isinstance(label, Integral) for label in labels_of(rows)):
        return np.fromiter((int(label) for label in labels_of(rows)), np.int64, len(rows))
    return np.zeros(len(rows), np.int64)


def _shares(counts: np.ndarray, n: int, high: np.ndarray) -> np.ndarray:
    """(classes,) integers that sum to n, near counts in proportion, at most ``high``, at least 1 where that fits.

    >>> _shares(np.array([90, 9, 1]), 10, np.array([90, 9, 1])).tolist()
    [8, 1, 1]
    """
    quota = counts * (n / max(counts.sum(), 1))
    low = np.minimum(high, 1)
    low = low if low.sum() <= n else np.zeros_like(low)
    share = np.clip(np.floor(quota).astype(int), low, high)
    while share.sum() < n:
        share[np.argmax(np.where(share < high, quota - share, -np.inf))] += 1
    while share.sum() > n:
        share[np.argmax(np.where(share > low, share - quota, -np.inf))] -= 1
    return share
