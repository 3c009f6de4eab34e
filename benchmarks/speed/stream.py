"""The quickstart stream on a CPU: seconds of the whole process, here and with the trainers of peft and adapters.

    python benchmarks/speed/stream.py --adapters-python PYTHON     a quarter of an hour a seed on two cores
    python benchmarks/speed/stream.py --share 0.03 --records FOLDER   a smoke test

Ours is ``continual run composition=[] evaluate.unseen=none``: every task learned, stored and scored on its test rows,
with all that a run does beside that. Theirs: one task after another by the library's trainer, with its defaults and our
rows, epochs, batch size, learning rate, warm-up and head; then the same given our batches (rows of similar lengths) and
bfloat16 products. Every run is a fresh process; a seed's runs follow each other, every other seed's in the opposite
order. What our stored modules answer is held against the plain form before a run is recorded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bench
from one import One
from plain_form import pooled
from torch import nn

from continual.encoder.frozen import Encoder
from continual.encoder.load import load
from continual.head.classify import Classify
from continual.method.bottleneck import Bottleneck
from continual.method.lora import LoRA
from continual.predict import BATCH
from continual.recalled import recall
from continual.report.record import load as read
from continual.request import Recipe
from continual.store import Store
from continual.stream.base import Task
from continual.stream.batching import epoch_batches, test_batches
from continual.stream.text import Reader
from continual.stream.units import collate
from continual.task_streams import quickstart

HERE = Path(__file__).resolve().parent
ROWS = {"train": 1000, "valid": 200, "test": 500}
TOKENS = 64
COMMAND = ("run", "composition=[]", "evaluate.unseen=none", "quiet=true")
FAST = ("trainer=bf16",)
"""What a user adds for bfloat16 products."""
OURS = {"ours": (), "ours, bf16": FAST, "ours, lora": ("method=lora",), "ours, lora, bf16": ("method=lora", *FAST)}
THEIRS = {
    "adapters": ("adapters", False),
    "adapters, our batches, bf16": ("adapters", True),
    "peft": ("peft", False),
    "peft, our batches, bf16": ("peft", True),
}
RECIPE = Recipe()


def main() -> None:
    parser = bench.parser(__doc__, pairs=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the rows: a smoke test")
    parser.add_argument("--only", nargs="*", choices=[*OURS, *THEIRS], help="default: all that can be run")
    options = parser.parse_args()
    sizes = {key: max(20, round(options.share * rows)) for key, rows in ROWS.items()}
    book = bench.book(options, "stream", encoder="minilm", tokens=TOKENS, **sizes)
    encoder, tasks = load(max_length=TOKENS), quickstart.tasks(**sizes)
    names = [name for name in (*OURS, *THEIRS) if options.only is None or name in options.only]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        One(encoder, None, 4, TOKENS).check(folder)
        encoder = load(max_length=TOKENS)
        encoder.model.save_pretrained(folder / "encoder")
        encoder.tokenizer.save_pretrained(folder / "encoder")
        for seed in range(options.pairs):
            pack(tasks, Reader(encoder.tokenizer, TOKENS), seed, folder / "packed.json")
            for name in names if seed % 2 == 0 else reversed(names):
                python = sys.executable if name in OURS or THEIRS[name][0] == "peft" else options.adapters_python
                if python is not None and f"{name} s{seed}" not in book.rows:
                    entry = (
                        ours(name, seed, sizes, tasks, folder) if name in OURS else theirs(name, seed, python, folder)
                    )
                    book.put(f"{name} s{seed}", entry)
                    scores = {task: f"{score:.3f}" for task, score in entry["accuracy"].items()}
                    print(f"{name}, seed {seed}: {entry['seconds']:.0f} s", scores, flush=True)


def ours(name: str, seed: int, sizes: dict[str, int], tasks: Sequence[Task], folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        said = [f"seed={seed}", f"paths.runs={place}/runs", f"paths.store={place}/store"]
        said += [f"stream.{key}={rows}" for key, rows in sizes.items()]
        entry = process([sys.executable, "-m", "continual", *COMMAND, *OURS[name], *said])
        [path] = Path(place).glob("runs/*/run.json")
        record = read(path)
        if record.status != "finished":
            raise SystemExit(f"{name}, seed {seed}: {record.status}")
        scores = {record.tasks[c.task].name: c.score for c in record.cells if c.stage == "learn" and c.after == c.task}
        modules = {module.task: module.digest for module in record.modules}
        check(load(max_length=TOKENS), Store(f"{place}/store"), modules, scores, tasks, FAST[0] in OURS[name])
    learning = sum(module.seconds for module in record.modules)
    return {**entry, "parts": {"learning": learning, "all else": entry["seconds"] - learning}, "accuracy": scores}


def theirs(name: str, seed: int, python: str, folder: Path) -> dict[str, Any]:
    library, given = THEIRS[name]
    rates = {"peft": LoRA.lr, "adapters": Bottleneck.lr}
    said = {"library": library, "given": given, "seed": seed, "lr": rates[library], "tokens": TOKENS}
    said |= {"folder": str(folder), "factor": Bottleneck().reduction_factor, "epochs": RECIPE.epochs}
    said |= {"batch": RECIPE.batch_size, "warmup": RECIPE.warmup, "decay": RECIPE.weight_decay, "clip": RECIPE.clip}
    entry = process([python, str(HERE / "stream_peer.py"), json.dumps(said)])
    entry |= json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    entry["parts"]["all else"] = entry["seconds"] - sum(entry["parts"].values())
    return entry


def process(command: Sequence[str]) -> dict[str, Any]:
    """Seconds from its start to its end, and the most memory that it held."""
    busy, started = bench.busy(), time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"ended with {child.returncode}: {' '.join(command)}")
    return {"busy": busy, "seconds": seconds, "peak": 1024 * used.ru_maxrss}


def pack(tasks: Sequence[Task], reader: Reader, seed: int, path: Path) -> None:
    """What the libraries are given: texts and labels, and for those that want them the rows of our batches."""
    packed = []
    for task in tasks:
        rows = {split: [[row.text, row.label] for row in getattr(task, split)] for split in ("train", "test")}
        lengths = reader(task.train, Classify(), task.labels).lengths
        epochs = [epoch_batches(lengths, RECIPE.batch_size, seed, epoch) for epoch in range(RECIPE.epochs)]
        batches = [[batch.tolist() for batch in epoch] for epoch in epochs]
        packed.append({"name": task.name, "labels": len(task.labels), "batches": batches, **rows})
    path.write_text(json.dumps(packed), encoding="utf-8")


def check(
    encoder: Encoder,
    store: Store,
    modules: Mapping[str, str],
    scores: Mapping[str, float | None],
    tasks: Sequence[Task],
    rounded: bool,
) -> None:
    """The stored modules by their formulas on a bare encoder: the same share of right answers. ``rounded``: nearly."""
    reader, head = Reader(encoder.tokenizer, encoder.max_length), Classify()
    for task in tasks:
        known = recall(store, modules[task.name], encoder)
        data, right = reader(task.test, head, task.labels), 0
        for rows in test_batches(data.lengths, BATCH):
            batch = collate(data, rows)
            assert batch.mask is not None
            states = pooled(encoder.model, known.adapters[0], batch.inputs, batch.mask).detach()
            said = nn.functional.linear(states, known.head_params["weight"], known.head_params["bias"]).argmax(-1)
            right += int((said == batch.targets[data.kind]).sum())
        found, score = right / len(data), scores[task.name]
        if score is None or abs(found - score) > max(0.02 if rounded else 0.0, 1.5 / len(data)):
            raise ArithmeticError(f"{task.name}: {score} was recorded; the plain form of the stored module has {found}")


if __name__ == "__main__":
    main()
