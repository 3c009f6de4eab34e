"""Runs of seconds: a tiny encoder on a tiny toy stream, in this process or through the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from continual import cli
from continual.drive import run_stream
from continual.encoder.frozen import Encoder
from continual.parts import Parts
from continual.progress import Progress
from continual.report.record import Record
from continual.request import Recipe
from continual.stream.base import Stream
from continual.task_streams import toy
from tests import tiny

SIZES = {"count": 3, "classes": 2, "train": 32, "valid": 8, "test": 24, "words": 6}
OVERRIDES = ["stream=toy", *(f"stream.{key}={value}" for key, value in SIZES.items()), "trainer.epochs=1", "threads=1"]


@cache
def encoder(seed: int = 0) -> Encoder:
    return tiny.encoder("bert", seed=seed, words=toy.WORDS)


def stream(**sizes: int) -> Stream:
    return Stream("toy", tuple(toy.tasks(**{**SIZES, **sizes})))


def parts(root: Path, **changes: Any) -> Parts:
    """Of a run below ``root``, without compositions and progress unless they are asked for."""
    given = {
        "encoder": encoder(),
        "stream": stream(),
        "compositions": (),
        "recipe": Recipe(epochs=2, batch_size=8),
        "runs": root / "runs",
        "store": root / "store",
        "progress": Progress(quiet=True),
    }
    return Parts(**{**given, **changes})


def run(root: Path, **changes: Any) -> Record:
    return run_stream(parts(root, **changes))


def results(record: Record) -> dict[str, Any]:
    """All of a record that does not depend on when, how fast, and in how many processes it was made."""
    facts = record.model_dump(mode="json")
    for key in ("created", "seconds", "forwarded_rows", "peak_memory_bytes", "config"):
        del facts[key]
    facts["warnings"] = [line for line in facts["warnings"] if not line.startswith("the run was resumed")]
    for module in facts["modules"]:
        del module["seconds"]
    return facts


def saved_encoder(folder: Path) -> Path:
    """What ``encoder.name=`` takes: a folder as ``save_pretrained`` leaves it."""
    tiny.model("bert").save_pretrained(folder)
    tiny.tokenizer(toy.WORDS).save_pretrained(folder)
    return folder


def python(code: str, cwd: Path, *arguments: object, timeout: float = 120, **env: str) -> subprocess.CompletedProcess:
    """A process of its own, where the process boundary is what is tested."""
    return _process([sys.executable, "-c", code, *map(str, arguments)], cwd, timeout, env)


def command(cwd: Path, *arguments: object, timeout: float = 120, **env: str) -> subprocess.CompletedProcess:
    """``continual …``."""
    return _process([sys.executable, "-m", "continual", *map(str, arguments)], cwd, timeout, env)


def environment(**env: str) -> dict[str, str]:
    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **env}


def _process(words: list[str], cwd: Path, timeout: float, env: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(words, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=timeout)


def lines(path: Path) -> list[dict[str, Any]]:
    """The entries of a journal or ledger."""
    return [json.loads(line)["value"] for line in path.read_text(encoding="utf-8").splitlines()]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def ended(capsys: pytest.CaptureFixture[str]) -> Ended:
    """Of the command in ``sys.argv``, in this process."""
    try:
        cli.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1 if error.code else 0
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    return Ended(code, *capsys.readouterr())
