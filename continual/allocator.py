"""Where large tensors get their memory from, set once where a process starts."""

from __future__ import annotations

import ctypes
import platform

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2
"""Of ``mallopt(3)``."""


def keep_memory() -> bool:
    """Let glibc keep what it was given: no block of its own for a large tensor, nothing handed back between two steps.

    By default a tensor of some 32 MB or more is mapped anew each time it is made, and every page of it faults again: up
    to 16 % of a forward on a CPU. The process's peak is what it was; in between it holds on to more. False where the C
    library is another, which is left as it is. Environment variables (``MALLOC_…``) would have to be there before the
    process starts.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all([libc.mallopt(MMAP_MAX, 0), libc.mallopt(TRIM_THRESHOLD, 2**31 - 1), libc.mallopt(TOP_PAD, 2**28)])
