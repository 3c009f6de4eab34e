"""What one bottleneck adds to the time of one text, here and in AdapterHub's library.

    python benchmarks/speed/latency.py --adapters-python PYTHON

A forward of one text of 64 tokens, without gradients, beside the bare encoder's in the same process; both processes
are asked in turn, every other time in the opposite order. Answers are held against the plain form first.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import bench
import torch
from agree import differences, in_adapters, require
from asked import Process, in_turn
from one import One, named
from safetensors.torch import load_file

from continual.encoder.load import load

HERE = Path(__file__).resolve().parent
TOKENS = 64
WARM = 2


def main() -> None:
    options = bench.parser(__doc__, pairs=31).parse_args()
    book = bench.book(options, "latency", encoder="minilm", rows=1, tokens=TOKENS, precision="32-true")
    if "bottleneck" not in book.rows:
        book.put("bottleneck", measured(One(load(max_length=TOKENS), None, 1, TOKENS), options))
        show(book.rows["bottleneck"])


def measured(one: One, options: argparse.Namespace) -> dict[str, Any]:
    asked: dict[str, Any] = {"ours": bench.Here(forward=one.forward), "bare": bench.Here(forward=one.forward_alone)}
    question = {"ours": "forward", "bare": "forward"}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        entry: dict[str, Any] = {"busy": bench.busy(), "apart": {"ours": one.check(Path(folder))}}
        if options.adapters_python is not None:
            server = stack.enter_context(process(options.adapters_python, one, Path(folder)))
            entry["peer"] = server.ready()
            entry["apart"]["adapters"] = peer_check(server, one, Path(folder))
            asked |= {"adapters": server, "bare there": server}
            question |= {"adapters": "forward", "bare there": "forward_alone"}
        once = {}
        for name, side in asked.items():
            taken = min(side.ask(question[name], "3") for _ in range(3))
            once[name] = (question[name], str(max(1, round(0.05 / taken))))
        return {**entry, "forward": in_turn(asked, once, options.pairs, WARM)}


def process(python: str, one: One, folder: Path, leave_out: tuple[int, ...] = ()) -> Process:
    """The same module in AdapterHub's library."""
    one.keep(folder, in_adapters(one.adapter, "one"))
    said = {"folder": str(folder / "encoder"), "weights": str(folder / "weights"), "full": False, "cuda": False}
    said |= {"factor": one.method.reduction_factor, "leave_out": list(leave_out)}
    said |= {"rows": one.rows, "tokens": one.tokens, "threads": torch.get_num_threads()}
    return Process(python, str(HERE / "theirs.py"), said)


def peer_check(server: Process, one: One, folder: Path) -> dict[str, float]:
    """How far its answers are from the plain form's."""
    server.ask("answers", str(folder / "theirs"))
    theirs = named(one.adapter, load_file(folder / "theirs"), in_adapters(one.adapter, "one"))
    return require("adapters", differences(theirs, one.plain_answers(folder / "plain")))


def show(entry: dict[str, Any]) -> None:
    print({name: f"{1e3 * median(found):.2f} ms" for name, found in entry["forward"].items()}, flush=True)


if __name__ == "__main__":
    main()
