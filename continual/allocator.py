"""What a process does with its memory: of the C library, and of Python."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -4, -3, -1, -2
"""Of ``mallopt(3)``."""
LARGE = 2**22
"""Bytes of a tensor that ``return_memory`` gives back by itself."""


def keep_memory() -> bool:
    """Let glibc keep what it was given: no block of its own for a large tensor, nothing handed back between two steps.

    By default a tensor of some 32 MB or more is mapped anew each time it is made, and every page of it faults again: up
    to 16 % of a forward on a CPU. The process's peak is what it was; in between it holds on to more. False where the C
    library is another, which is left as it is. Environment variables (``MALLOC_…``) would have to be there before the
    process starts.

    Before 2.39 glibc needs some 100 bytes more than a tensor to align it, cuts them off, and keeps the pieces for small
    requests: the hole that a tensor leaves may then not take another of its size (its bug 30723). A training's peak is
    half as large again as its tensors. A process that is started with
    ``GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0`` merges the pieces at once, and needs less;
    a tunable cannot be set later. ``benchmarks/speed/peak.py`` measures both.
    """
    return _set({MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**28})


def return_memory() -> bool:
    """The opposite: each tensor of 4 MiB or more is mapped by itself, and handed back when it is gone.

    There are no holes then: a training's peak is that of its tensors. Every page faults anew, so a step on a CPU takes
    longer (``benchmarks/speed/peak.py``: *recomputed*). False as above.
    """
    return _set({MMAP_MAX: 2**16, MMAP_THRESHOLD: LARGE, TRIM_THRESHOLD: 2**25, TOP_PAD: 2**20})


def _set(values: Mapping[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all([libc.mallopt(name, value) for name, value in values.items()])


@contextmanager
def importing() -> Iterator[None]:
    """Within it Python's collector of cycles rests, and ever after it passes by what is there by then.

    Modules stay to the end, and are a million objects: to look through them for garbage, again and again while they
    are imported and in every full pass from then on, took a fifth of the time in which a run starts. Only the first
    time in a process: what a finished run leaves behind has to be found.
    """
    if gc.get_freeze_count() or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
