"""The largest memory that training a bottleneck needs beside the loaded encoder: here, there, and full fine-tuning.

    python benchmarks/speed/peak.py --adapters-python PYTHON

Steps on 32 texts of up to 128 tokens on MiniLM, each side in fresh processes, one after the other; the largest resident
size while it trains, less the one when all is loaded. Of the others with the encoder's dropout, as their trainers leave
it, and without. *layers 3-*: a module in the upper half of the layers, on kept states (``continual/trunk.py``).
*merged*: the process is started with ``MERGED``. *recomputed*: ``trainer.gradient_checkpointing=true``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import bench
import torch
from agree import in_adapters
from asked import Process
from latency import peer_check, process
from one import One

from continual.encoder.load import load

HERE = Path(__file__).resolve().parent
STEPS = 4
MERGED = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"}
"""What glibc before 2.39 cuts off an aligned block merges with its neighbours again (``continual/allocator.py``)."""


def main() -> None:
    parser = bench.parser(__doc__, pairs=3)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    setting = {"encoder": "minilm", "rows": options.rows, "tokens": options.tokens, "steps": STEPS}
    book = bench.book(options, "peak", **setting)
    if "bottleneck" not in book.rows:
        book.put(
            "bottleneck", measured(One(load(max_length=options.tokens), None, options.rows, options.tokens), options)
        )
        for name, found in book.rows["bottleneck"]["memory"].items():
            print(name, f"{median(one['peak'] - one['loaded'] for one in found) / 2**20:.0f} MiB", flush=True)


def measured(one: One, options: argparse.Namespace) -> dict[str, Any]:
    sides = {
        "ours": ("ours", ""),
        "ours, layers 3-": ("ours", "3-"),
        "ours, merged": ("merged", ""),
        "ours, layers 3-, merged": ("merged", "3-"),
        "ours, recomputed": ("recomputed", ""),
        "ours, layers 3-, recomputed": ("recomputed", "3-"),
        "full": ("full", "train"),
        "full, no dropout": ("full", "eval"),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entry: dict[str, Any] = {"busy": bench.busy(), "apart": {"ours": one.check(folder)}}
        one.keep(folder, in_adapters(one.adapter, "one"))
        if options.adapters_python is not None:
            sides |= {"adapters": ("adapters", "train"), "adapters, no dropout": ("adapters", "eval")}
            with process(options.adapters_python, one, folder) as server:
                entry["peer"] = server.ready()
                entry["apart"]["adapters"] = peer_check(server, one, folder)
        memory: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(options.pairs):
            for side, (kind, mode) in sides.items():
                memory[side].append(taken(kind, mode, one, folder, options.adapters_python))
    return {**entry, "memory": memory}


def taken(kind: str, mode: str, one: One, folder: Path, python: str | None) -> dict[str, float]:
    """Bytes: when it is loaded, and at most while it trains; seconds of its last step."""
    said = {"rows": one.rows, "tokens": one.tokens, "threads": torch.get_num_threads(), "cuda": False}
    ours = kind in ("ours", "merged", "recomputed")
    if ours:
        started = MERGED if kind == "merged" else {}
        one_of = {**said, "layers": mode or None, "recompute": kind == "recomputed", "steps": STEPS}
        side = Process(sys.executable, str(HERE / "one.py"), one_of, started=started)
    elif kind == "full":
        full = {"folder": str(folder / "encoder"), "weights": "", "full": True, "factor": 0, "leave_out": []}
        side = Process(sys.executable, str(HERE / "theirs.py"), {**said, **full})
    else:
        assert python is not None
        side = process(python, one, folder)
    with side:
        side.ready()
        for _ in range(1 if ours else STEPS):  # one question of ours is all its steps
            last = side.ask("step", *([] if ours else [mode, "fp32"]))
        return {**side.memory(), "step": last}


if __name__ == "__main__":
    main()
