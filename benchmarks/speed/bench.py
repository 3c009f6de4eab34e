"""What the commands of this folder share: their options, their records, the machine that they ran on."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paths  # noqa: F401
from book import Book
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
logging.disable_progress_bar()


def parser(about: str | None, pairs: int) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--adapters-python", help="interpreter of an environment with AdapterHub's library")
    made.add_argument("--pairs", type=int, default=pairs, help="repeats, all sides in turn, after the warm-up")
    made.add_argument("--records", type=Path, default=HERE / "records")
    return made


def book(options: argparse.Namespace, table: str, device: str = "cpu", **setting: Any) -> Book:
    """The record of a table on a device. Rows that are there are kept; ends the command where their setting differs."""
    made = Book(options.records / f"{table}-{device}.json", {**setting, "cpu": processor(), "cores": os.cpu_count()})
    if made.path.exists() and (there := json.loads(made.path.read_text())["setting"]) != made.setting:
        raise SystemExit(f"{made.path} is of {there}, not of {made.setting}; give --records another folder")
    return made


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in known.items()}
    if "model name" not in named:
        return platform.processor() or platform.machine()
    return f"{named['model name']} (family {named.get('cpu family')}, model {named.get('model')})"


def busy() -> float:
    """How many processes wanted a core in the last minute, this one too: a noisy run is to be seen in its record."""
    found = os.getloadavg()[0]
    if found > 1.2:
        print(
            f"{found:.1f} processes are busy: times will be provisional, most of all with several threads", flush=True
        )
    return found


class Here:
    """This process, asked as ``asked.Process`` is."""

    def __init__(self, **answers: Callable[..., Any]) -> None:
        self.answers = answers

    def ask(self, question: str, *arguments: str) -> Any:
        return self.answers[question](*arguments)
