"""Many modules on one encoder: adding them, switching between them, loading one more from disk; here, peft, adapters.

    python benchmarks/speed/registry.py --adapters-python PYTHON

100 LoRAs, then 100 bottlenecks, on MiniLM, one text of 64 tokens. Each side has the same tensors, and what it answers
after a switch or a load is held against the plain form before anything is timed. The sides are asked in turn.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import bench
import torch
from agree import differences, in_adapters, in_peft, require
from asked import Process, in_turn
from registry_ours import KINDS, Ours
from safetensors.torch import load_file, save_file

from continual.encoder.load import load

HERE = Path(__file__).resolve().parent
TOKENS = 64
WARM = 1
QUESTIONS = {
    "add": {"ours": "add", "ours, drawn too": "add_drawn", "ours, one by one": "add_singly", "": "add"},
    "switch": {"ours": "switch", "ours, loaded alone": "switch_alone", "": "switch"},
    "load": {"ours": "load", "ours, loaded alone": "load_alone", "": "load"},
    "forward": {"ours": "forward", "ours, loaded alone": "forward_alone", "bare": "forward_bare", "": "forward"},
}
"""What is timed: of each way of ours the question, and under "" that of the libraries."""


def main() -> None:
    parser = bench.parser(__doc__, pairs=7)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    book = bench.book(options, "registry", encoder="minilm", count=options.count, rows=1, tokens=TOKENS)
    for kind in KINDS:
        if kind in book.rows:
            continue
        with tempfile.TemporaryDirectory() as name:
            ours = Ours(load(max_length=TOKENS), kind, options.count, TOKENS, Path(name))
            book.put(kind, measured(ours, kind, options, Path(name)))
        for what in QUESTIONS:
            times = {side: f"{1e3 * median(found):.3f} ms" for side, found in book.rows[kind][what].items()}
            print(kind, what, times, flush=True)


def measured(ours: Ours, kind: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"busy": bench.busy(), "apart": {"ours": ours.check()}, "peer": {}}
    with libraries(ours, kind, options.adapters_python, folder) as peers:
        for name, peer in peers.items():
            entry["peer"] |= peer.ready()
            peer.ask("add")
            entry["apart"][name] = peer_check(peer, ours, folder / f"{name}-answers")
        here = bench.Here(**ours.questions())
        for what, questions in QUESTIONS.items():
            own = {side: (here, question) for side, question in questions.items() if side}
            every = {**own, **{name: (peer, questions[""]) for name, peer in peers.items()}}
            asked = {side: (question, *_times(what)) for side, (_, question) in every.items()}
            entry[what] = in_turn({side: who for side, (who, _) in every.items()}, asked, options.pairs, WARM)
    return entry


@contextmanager
def libraries(ours: Ours, kind: str, python: str | None, folder: Path) -> Iterator[dict[str, Process]]:
    ours.bare.save_pretrained(folder / "encoder")
    pythons = {"peft": sys.executable if kind == "lora" else None, "adapters": python}
    with ExitStack() as stack:
        found = {}
        for name, interpreter in pythons.items():
            if interpreter is not None:
                rename = in_peft if name == "peft" else in_adapters
                save_file(
                    {key: t for n, one in enumerate(ours.adapters) for key, t in rename(one, f"m{n}").items()},
                    folder / f"{name}-weights",
                )
                said = {"library": name, "kind": kind, "folder": str(folder), "count": len(ours.adapters)}
                said |= {"tokens": ours.tokens, "threads": torch.get_num_threads(), "cuda": False}
                found[name] = stack.enter_context(Process(interpreter, str(HERE / "registry_peer.py"), said))
        yield found


def peer_check(peer: Process, ours: Ours, path: Path) -> dict[str, float]:
    """After each of some switches, and of the last after a load, it answers as the plain form does."""
    worst = {"output": 0.0}
    for number in ours.some():
        peer.ask("answer", str(number), str(path))
        apart = require("a library", differences(load_file(path), {"pooled": ours.plain(number)}))
        worst = max(worst, apart, key=lambda found: found["output"])
    peer.ask("answer_loaded", str(path))
    return max(
        worst,
        require("a library's load", differences(load_file(path), {"pooled": ours.plain(len(ours.adapters) - 1)})),
        key=lambda found: found["output"],
    )


def _times(what: str) -> list[str]:
    return ["5"] if what == "forward" else []


if __name__ == "__main__":
    main()
