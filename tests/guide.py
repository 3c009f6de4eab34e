"""A guide, block by block: what it says is done, and what it shows is what that prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import running
from tests.mirrored import put

Typed = Callable[[str], running.Ended]
"""Types a line of a shell: how it ended."""
BLOCK = re.compile(
    r"(?:^<!-- test: (?P<mark>fails) -->\n)?(?:^Put this into `(?P<file>\S+)`:\n\n)?"
    r"^```(?P<language>\w+)(?P<more>[^\n]*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)


class Block(NamedTuple):
    """A fenced block.

    mark  "fails": its commands are to fail, as a comment before it says, which the reader does not see
    file  what it is to be put into; empty: it is done, or is what was printed
    more  what stands behind the language: such a block is for the reader alone
    """

    mark: str
    file: str
    language: str
    more: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All of a page, in order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(**{key: value or "" for key, value in match.groupdict().items()}) for match in found]


def follow(page: Path, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    """Do what the page says, in the current folder."""
    shown = ""
    names = {"__name__": page.stem}
    for block in blocks(page):
        if block.file:
            put(Path(block.file), block.text)
        elif block.language == "bash":
            ended = [typed(line) for line in block.text.replace("\\\n", " ").splitlines()]
            assert all((one.code != 0) == (block.mark == "fails") for one in ended), ended
            shown = "".join(one.err + one.out for one in ended)
        elif block.language == "python":
            exec(compile(block.text, page.name, "exec"), names)
            shown = capsys.readouterr().out
        elif not block.more:
            assert block.language == "text", f"{page.name}: a block of {block.language} that goes into no file"
            printed(block.text, shown)


def apart(line: str, programs: Path) -> running.Ended:
    """A line of a shell in a process of its own; ``programs``: a folder whose ``bin`` is looked into first."""
    places = [str(programs / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    env = running.environment(PATH=os.pathsep.join(places), PYTHONPATH=str(programs))
    done = subprocess.run(["bash", "-euc", line], env=env, capture_output=True, text=True, timeout=120)
    return running.Ended(done.returncode, done.stdout, done.stderr)


def printed(wanted: str, shown: str) -> None:
    """Each line of ``wanted`` is in ``shown``, behind the one before it; … stands for anything."""
    lines = iter(map(_bare, shown.splitlines()))
    for line in filter(lambda line: line.strip(" …"), wanted.splitlines()):
        pattern = re.compile(".*".join(re.escape(_bare(piece)) for piece in line.split("…")))
        assert any(pattern.fullmatch(other) for other in lines), f"not printed there: {line}\n\n{shown}"


def _bare(line: str) -> str:
    """Without its numbers and their stars, the digests of runs, and the width of its columns."""
    line = re.sub(r"\b[0-9a-f]{16}\b", "#", line)
    return re.sub(r"\s+", " ", re.sub(r"[+−-]?\d[\d.,]*\*?", "#", line)).strip()
