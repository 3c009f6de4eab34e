"""What a user can mend. Anything else that is raised is a bug."""

from __future__ import annotations

from collections.abc import Iterable


class ContinualError(Exception):
    """A message for a person: what was expected, what was found, what to do. Printed without a traceback."""


class CorruptError(ContinualError):
    """A stored file is not what its digest says it is."""


class IsolationError(CorruptError):
    """What an earlier stage of a run left behind is not what it was: stored modules, the encoder, or answers."""


class DataError(ContinualError):
    """A task's rows cannot be learned from as they are."""


class NotFinite(DataError):
    """Answers with NaN or infinity among them: no score is right there."""


class Diverged(ContinualError):
    """A loss became NaN or infinite: this task stops, the stored modules stay."""


def unknown(what: str, got: object, choices: Iterable[object]) -> ContinualError:
    """
    >>> print(unknown("site", "querry", ["key", "query"]))
    unknown site 'querry'; choose from: key, query
    """
    return ContinualError(f"unknown {what} {got!r}; choose from: {', '.join(sorted(map(str, choices)))}")


def counted(number: int, noun: str) -> str:
    """A number with what it counts; a noun whose plural is its singular with an s.

    >>> counted(1, "task"), counted(0, "task"), counted(1200, "step")
    ('1 task', '0 tasks', '1,200 steps')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def one_line(text: str) -> str:
    """
    >>> one_line("a\\n  b")
    'a b'
    """
    return " ".join(text.split())
