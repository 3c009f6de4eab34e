"""Where a person reads: a terminal, as wide as it is; or a file or a pipe, whose lines are as long as what they say."""

from __future__ import annotations

from rich.console import Console

LOG = 80
"""Columns of a file or a pipe that a matrix of numbers takes, before it goes on in another block."""

UNBROKEN = 2**16
"""Wider than any line."""


def screen() -> Console:
    """Standard output. Into a file or a pipe no line is broken: ``grep`` looks for a name in one line."""
    console = Console()
    return console if console.is_terminal or console.is_jupyter else Console(width=UNBROKEN)


def room(console: Console) -> int:
    """How many characters a matrix may be wide."""
    return LOG if console.width == UNBROKEN else console.width
