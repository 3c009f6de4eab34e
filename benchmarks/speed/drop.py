"""Training steps of a module with the lower half of the layers left out, here and in AdapterHub's library.

    python benchmarks/speed/drop.py --adapters-python PYTHON

A bottleneck in layers 3 to 5 of 6 (AdapterDrop, Rücklé et al. 2021): ``method.layers=3-`` here, ``leave_out=[0, 1, 2]``
there; 32 texts of up to 64 tokens, float32 and bfloat16 products. Before each step of ours the other side makes one,
with the encoder's dropout, as its trainer leaves it, and one without. Ours reads the states below layer 3 that were
computed before the first step (``continual/trunk.py``); what that takes is timed by itself, and then all again without
it. Answers and gradients are held against the plain form first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import bench
import torch
from agree import differences, require
from latency import peer_check, process
from one import One
from ours import Alternating, encoded

from continual.encoder.load import load
from continual.trainer import Machine, placed
from continual.trunk import Trunk

WARM = 3
LEAVE_OUT = (0, 1, 2)
CASES = {
    "fp32": Machine(),
    "bf16": Machine(precision="bf16-mixed"),
    "fp32, nothing kept": Machine(cache=0),
    "bf16, nothing kept": Machine(precision="bf16-mixed", cache=0),
}
"""What a user of this package sets for a module with layers left out."""


def main() -> None:
    parser = bench.parser(__doc__, pairs=15)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    setting = {"encoder": "minilm", "rows": options.rows, "tokens": options.tokens, "left_out": list(LEAVE_OUT)}
    book = bench.book(options, "drop", **setting)
    for case in CASES:
        if case not in book.rows:
            one = One(load(max_length=options.tokens), f"{len(LEAVE_OUT)}-", options.rows, options.tokens)
            book.put(case, measured(one, CASES[case], options))
            times = {name: f"{1e3 * median(found):.0f} ms" for name, found in book.rows[case]["step"].items()}
            print(case, times, flush=True)


def measured(one: One, machine: Machine, options: argparse.Namespace) -> dict[str, Any]:
    others: dict[str, Callable[[], float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        entry: dict[str, Any] = {"busy": bench.busy(), "apart": {"ours": one.check(Path(folder))}}
        if machine.cache:
            entry["apart"]["states that were kept"] = kept_check(one)
            entry["below"] = [below(one, machine) for _ in range(options.pairs)]
        if options.adapters_python is not None:
            server = stack.enter_context(process(options.adapters_python, one, Path(folder), LEAVE_OUT))
            entry["peer"] = server.ready()
            entry["apart"]["adapters"] = peer_check(server, one, Path(folder))
            for name, mode in (("adapters", "train"), ("adapters, no dropout", "eval")):
                others[name] = partial(
                    server.ask, "step", mode, "bf16" if machine.precision == "bf16-mixed" else "fp32"
                )
        watch = Alternating(others, cuda=False)
        one.train(WARM + options.pairs, machine, watch)
    return {**entry, "step": {name: seconds[WARM:] for name, seconds in watch.seconds.items()}}


@torch.no_grad()
def kept_check(one: One) -> dict[str, float]:
    """From the states that were kept the plain form's answers."""
    kept = Trunk(2**30).below(one.model, encoded(one.bare.config.vocab_size, one.rows, one.tokens), 2)
    if kept is None:
        raise ArithmeticError("no states were kept")
    one.batch.below = kept.take(list(range(one.rows)), one.tokens)
    answer = one.pooled()
    one.batch.below = None
    return require("kept states", differences({"pooled": answer}, {"pooled": one.plain()}))


def below(one: One, machine: Machine) -> float:
    """Seconds to compute what is kept of a batch; once for all epochs."""
    data = encoded(one.bare.config.vocab_size, one.rows, one.tokens)
    placed(one.model, machine)
    started = time.perf_counter()
    machine.trunk().below(one.model, data, 2)
    taken = time.perf_counter() - started
    placed(one.model, Machine())
    return taken


if __name__ == "__main__":
    main()
