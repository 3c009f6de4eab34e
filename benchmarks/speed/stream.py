"""A stream of tasks: seconds of the whole process, here and with the trainers of peft and adapters.

    python benchmarks/speed/stream.py --adapters-python PYTHON        quickstart on two cores, 15 minutes a seed
    python benchmarks/speed/stream.py --adapters-python PYTHON --gpu  CLINC150's ten domains on a GPU
    python benchmarks/speed/stream.py --share 0.03 --records FOLDER   a smoke test

Ours is ``continual run composition=[] evaluate.unseen=none``: every task learned, stored and scored on its test rows,
with all that a run does beside that. Theirs: one task after another by the library's trainer, with its defaults and our
rows, epochs, batch size, learning rate, warm-up and head; then the same given our batches (rows of similar lengths) and
bfloat16 products. On a GPU three epochs and ten, and the bottlenecks of both sides are fused for the first task at the
end. Every run is a fresh process; a seed's runs follow each other, every other seed's in the opposite order. What our
stored modules answer is held against the plain form before a run is recorded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import bench
import torch
from one import One
from plain_form import pooled
from torch import nn

from continual.adapter import Adapter
from continual.composition.fusion import Fusion
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
from continual.task_streams import clinc, quickstart

HERE = Path(__file__).resolve().parent
ROWS = {"train": 1000, "valid": 200, "test": 500}
TOKENS = 64
FAST = ("trainer=bf16",)
"""What a user adds for bfloat16 products."""
OURS = {"ours": (), "ours, bf16": FAST, "ours, lora": ("method=lora",), "ours, lora, bf16": ("method=lora", *FAST)}
RECIPE = Recipe()
LONGER = 10
"""Epochs of a longer training, on a GPU: of a short one the start is most."""
CLINC = ("trainer=gpu", "stream=clinc")
ON_A_GPU = {
    "ours, bf16": CLINC,
    "ours, lora, bf16": ("method=lora", *CLINC),
    f"ours, bf16, {LONGER} epochs": (f"trainer.epochs={LONGER}", *CLINC),
    f"ours, lora, bf16, {LONGER} epochs": ("method=lora", f"trainer.epochs={LONGER}", *CLINC),
}
"""Products are in bfloat16 there, unless one says otherwise."""


class Peer(NamedTuple):
    """given: our batches, and bfloat16 products"""

    library: str
    given: bool
    epochs: int = RECIPE.epochs


THEIRS = {
    "adapters": Peer("adapters", False),
    "adapters, our batches, bf16": Peer("adapters", True),
    f"adapters, {LONGER} epochs": Peer("adapters", False, LONGER),
    "peft": Peer("peft", False),
    "peft, our batches, bf16": Peer("peft", True),
    f"peft, {LONGER} epochs": Peer("peft", False, LONGER),
}


@dataclass(frozen=True)
class Plan:
    """What is run on a device. ``fuse``: modules are composed for the stream's first task at the end, by a fusion."""

    device: str
    stream: str
    ours: Mapping[str, tuple[str, ...]]
    theirs: Sequence[str]
    rows: Mapping[str, int]
    fuse: bool = False

    def tasks(self) -> Sequence[Task]:
        return (clinc if self.stream == "clinc" else quickstart).tasks(**self.rows)

    def command(self, name: str, tasks: Sequence[Task]) -> list[str]:
        given = [f"stream.{key}={rows}" for key, rows in self.rows.items()]
        fusion = ["composition=fusion", f"target={tasks[0].name}"] if self.fuses(name) else ["composition=[]"]
        return ["run", "evaluate.unseen=none", "quiet=true", *self.ours[name], *fusion, *given]

    def fuses(self, name: str) -> bool:
        """``peft`` has no fusion: a LoRA that is held against it is left without."""
        return self.fuse and "lora" not in name and "peft" not in name


def planned(gpu: bool, share: float) -> Plan:
    if gpu:
        rows = {} if share == 1 else {"train": round(1500 * share), "test": round(450 * share)}
        return Plan("cuda", "clinc", ON_A_GPU, tuple(THEIRS), rows, True)
    rows = {key: max(20, round(share * rows)) for key, rows in ROWS.items()}
    short = tuple(name for name, peer in THEIRS.items() if peer.epochs == RECIPE.epochs)
    return Plan("cpu", "quickstart", OURS, short, rows)


def main() -> None:
    parser = bench.parser(__doc__, pairs=3)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--adapters-path", type=Path, help="folder of packages that come before that interpreter's own")
    parser.add_argument("--share", type=float, default=1.0, help="of the rows: a smoke test")
    known = list({**OURS, **ON_A_GPU, **THEIRS})
    parser.add_argument("--only", nargs="*", choices=known, help="default: all that can be run")
    options = parser.parse_args()
    plan = planned(options.gpu, options.share)
    said = {**plan.rows, **({"stream": plan.stream, "card": torch.cuda.get_device_name()} if options.gpu else {})}
    book = bench.book(options, "stream", plan.device, encoder="minilm", tokens=TOKENS, **said)
    encoder, tasks = load(max_length=TOKENS), plan.tasks()
    names = [name for name in (*plan.ours, *plan.theirs) if options.only is None or name in options.only]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        One(encoder, None, 4, TOKENS).check(folder)
        encoder = load(max_length=TOKENS)
        encoder.model.save_pretrained(folder / "encoder")
        encoder.tokenizer.save_pretrained(folder / "encoder")
        for seed in range(options.pairs):
            pack(tasks, Reader(encoder.tokenizer, TOKENS), seed, folder / "packed.json")
            for name in names if seed % 2 == 0 else reversed(names):
                own = name in plan.ours
                python = sys.executable if own or THEIRS[name].library == "peft" else options.adapters_python
                if python is not None and f"{name} s{seed}" not in book.rows:
                    place = options.adapters_path if name.startswith("adapters") else None
                    entry = (
                        ours(name, seed, plan, tasks, folder)
                        if own
                        else theirs(name, seed, python, place, plan, tasks, folder)
                    )
                    book.put(f"{name} s{seed}", entry)
                    scores = {task: f"{score:.3f}" for task, score in entry["accuracy"].items()}
                    print(f"{name}, seed {seed}: {entry['seconds']:.0f} s", scores, flush=True)


def ours(name: str, seed: int, plan: Plan, tasks: Sequence[Task], folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        said = [f"seed={seed}", f"paths.runs={place}/runs", f"paths.store={place}/store"]
        entry = process([sys.executable, "-m", "continual", *plan.command(name, tasks), *said])
        [path] = Path(place).glob("runs/*/run.json")
        record = read(path)
        if record.status != "finished":
            raise SystemExit(f"{name}, seed {seed}: {record.status}")
        scores = {record.tasks[c.task].name: c.score for c in record.cells if c.stage == "learn" and c.after == c.task}
        modules = {module.task: module.digest for module in record.modules}
        rounded = plan.device == "cuda" or FAST[0] in plan.ours[name]
        check(load(max_length=TOKENS), Store(f"{place}/store"), modules, scores, tasks, rounded, plan.device)
    fused = [gain.score for gain in record.gains if gain.composition == "fusion"]
    learning = sum(module.seconds for module in record.modules)
    parts = {"learning": learning, "all else": entry["seconds"] - learning}
    entry |= {"parts": parts, "run": record.seconds, "accuracy": scores}
    return {**entry, "fusion": fused[0]} if fused else entry


def theirs(
    name: str, seed: int, python: str, place: Path | None, plan: Plan, tasks: Sequence[Task], folder: Path
) -> dict[str, Any]:
    library, given, epochs = THEIRS[name]
    rates = {"peft": LoRA.lr, "adapters": Bottleneck.lr}
    said = {"library": library, "given": given, "seed": seed, "lr": rates[library], "tokens": TOKENS}
    said |= {"folder": str(folder), "factor": Bottleneck().reduction_factor, "epochs": epochs}
    said |= {"batch": RECIPE.batch_size, "warmup": RECIPE.warmup, "decay": RECIPE.weight_decay, "clip": RECIPE.clip}
    said |= {"cuda": plan.device == "cuda", "fuse": tasks[0].name if plan.fuses(name) else ""}
    said["fusion_lr"] = Fusion().lr
    entry = process([python, str(HERE / "stream_peer.py"), json.dumps(said)], place)
    entry |= json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    entry["run"] = sum(entry["parts"].values())
    entry["parts"]["all else"] = entry["seconds"] - entry["run"]
    return entry


def process(command: Sequence[str], place: Path | None = None) -> dict[str, Any]:
    """Seconds from its start to its end, and the most memory that it held. ``place``: packages that come first."""
    paths = [str(place.resolve())] if place is not None else []
    paths += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)} if paths else None
    busy, started = bench.busy(), time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
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
    device: str,
) -> None:
    """The stored modules by their formulas on a bare encoder: the same share of right answers. ``rounded``: nearly."""
    reader, head = Reader(encoder.tokenizer, encoder.max_length), Classify()
    encoder.model.to(device)
    for task in tasks:
        known = recall(store, modules[task.name], encoder)
        data, right = reader(task.test, head, task.labels), 0
        for rows in test_batches(data.lengths, BATCH):
            batch = collate(data, rows)
            assert batch.mask is not None
            given = batch.inputs.to(device), batch.mask.to(device)
            states = pooled(encoder.model, moved(known.adapters[0], device), *given).detach().cpu()
            said = nn.functional.linear(states, known.head_params["weight"], known.head_params["bias"]).argmax(-1)
            right += int((said == batch.targets[data.kind]).sum())
        found, score = right / len(data), scores[task.name]
        if score is None or abs(found - score) > max(0.03 if rounded else 0.0, 1.5 / len(data)):
            raise ArithmeticError(f"{task.name}: {score} was recorded; the plain form of the stored module has {found}")


def moved(adapter: Adapter, device: str) -> Adapter:
    params = {a: {name: t.to(device) for name, t in own.items()} for a, own in adapter.params.items()}
    return Adapter(adapter.method, params)


if __name__ == "__main__":
    main()
