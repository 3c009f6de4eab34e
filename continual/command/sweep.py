"""``continual sweep``: each job of a sweep that comes with the package, or of one's own, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from continual.command import run
from continual.sweep import known, listing


def main(arguments: Sequence[str]) -> int:
    """``continual run -m sweep=NAME …``; without a name, which sweeps there are.

    Jobs that are finished do nothing: a run is named by all that its result depends on.
    """
    if not arguments or arguments[0] in ("--help", "-h"):
        print(listing())
        return 0
    return run.main(["-m", f"sweep={known(arguments[0])}", *arguments[1:]])
