"""The other end of ``served.py``: a process of any interpreter, asked by lines, and how much memory it takes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from memory import reset_peak, status

HERE = Path(__file__).resolve().parent


class Process:
    """Started at once; ``ready`` waits until it has loaded all.

    folder   of packages that come before those of the interpreter
    started  variables of its environment beside those of this process
    """

    def __init__(
        self,
        python: str,
        script: str,
        said: Mapping[str, Any],
        folder: Path | None = None,
        started: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        paths = [str(folder.resolve())] if folder is not None else []
        paths += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
        environment = {**os.environ, **started, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}
        command = [python, str(HERE / script), json.dumps(said)]
        self.name, self.cuda = f"{script} {json.dumps(said)}", bool(said["cuda"])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.loaded = 0

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        _pipe(self.process.stdin).close()
        self.process.wait()

    def ready(self) -> dict[str, str]:
        """What it says of itself. Its memory counts from here."""
        facts = self._answer()
        self.loaded = self.ask("reset") if self.cuda else reset_peak(self.process.pid)
        return facts

    def ask(self, *question: str) -> Any:
        asked = _pipe(self.process.stdin)
        asked.write(" ".join(question) + "\n")
        asked.flush()
        return self._answer()

    def memory(self) -> dict[str, int]:
        """Bytes when it was ready, and at most since then: of the card's allocator, or resident ones."""
        return {"loaded": self.loaded, "peak": self.ask("peak") if self.cuda else status("VmHWM", self.process.pid)}

    def _answer(self) -> Any:
        line = _pipe(self.process.stdout).readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: {self.process.wait()}")
        return json.loads(line)


def in_turn(processes: dict[str, Process], questions: Mapping[str, Sequence[str]], rounds: int, warm: int) -> Any:
    """{name: seconds of each round}, without ``warm`` rounds before them; every other round in the opposite order."""
    found: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(warm + rounds):
        for name in processes if number % 2 else reversed(processes):
            found[name].append(processes[name].ask(*questions[name]))
    return {name: seconds[warm:] for name, seconds in found.items()}


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
