"""The modules that are routed to: a bottleneck for each task, learned once; kept is what they say of the rows.

    python benchmarks/composition/routing_modules.py --data FOLDER --keep FOLDER [--gpu]

``--data`` has ``clinc150/`` and ``banking77/`` (``intents.py``). Of each set and seed one file of logits: of the rows
to train under their own module, of held-out, test and out-of-scope rows under every module; of each set one of
features of the bare encoder. Files that are there are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import intents
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from continual.adapter import Adapter, fresh, generator
from continual.encoder.adapted import AdaptedEncoder
from continual.encoder.load import load
from continual.evaluate import score_of
from continual.head.classify import Classify
from continual.method.base import Params
from continual.method.bottleneck import Bottleneck
from continual.predict import features
from continual.progress import Progress
from continual.request import Learn, Recipe
from continual.stream.base import Example, Rows, Task
from continual.stream.text import Reader
from continual.trainer import Machine, learn

SETS: Mapping[str, Callable[[Path, int], list[Task]]] = {"clinc": intents.clinc, "banking": intents.banking}
METHOD, HEAD = Bottleneck(), Classify()
EPOCHS, LENGTH = 5, 32


class School(NamedTuple):
    """An encoder that learns and answers."""

    model: AdaptedEncoder
    reader: Reader
    machine: Machine

    def learn(self, tasks: list[Task], seed: int) -> list[tuple[Adapter, Params]]:
        """A module and a head for each, in one group: what each would have learned alone."""
        requests = [self.request(task, seed) for task in tasks]
        learned = learn(self.model, requests, self.machine, Progress(quiet=True))
        if bad := [task.name for task, one in zip(tasks, learned, strict=True) if one.diverged]:
            raise SystemExit(f"{', '.join(bad)} diverged")
        return [(one.adapter, one.head_params) for one in learned]

    def request(self, task: Task, seed: int) -> Learn:
        start = int(generator(seed, "init", task.name).initial_seed())
        return Learn(
            name=task.name,
            adapters=(fresh(METHOD, self.model.shapes, self.model.weights, start, self.model.absent),),
            head=HEAD,
            head_params=HEAD.init(self.model.width, len(task.labels), generator(seed, "head", task.name)),
            train=self.reader(task.train, HEAD, task.labels),
            valid=self.reader(task.valid, HEAD, task.labels),
            score=score_of(task),
            labels=task.labels,
            recipe=Recipe(epochs=EPOCHS),
            lr=METHOD.lr,
            seed=int(generator(seed, "order", task.name).initial_seed()),
        )

    def features(self, rows: Rows) -> Tensor:
        """(n, d) under what is loaded now."""
        return features(self.model, self.reader(rows, HEAD, ("",) * len(rows)))

    def logits(self, rows: Rows, head: Params) -> Tensor:
        """(n, C) under what is loaded now, by this head."""
        found = self.features(rows)
        return HEAD.logits(head, found, torch.ones(0))


def school(encoder: str, gpu: bool) -> School:
    made = load(encoder, max_length=LENGTH)
    model = AdaptedEncoder(made).to("cuda" if gpu else "cpu")
    return School(model, Reader(made.tokenizer, LENGTH), Machine("gpu" if gpu else "cpu"))


def asked(data: Path, name: str, tasks: list[Task]) -> dict[str, Rows]:
    """What every module is asked about: the held-out and test rows of all tasks, in their order, and those of none."""
    rows = {split: [row for task in tasks for row in task.splits[split]] for split in ("valid", "test")}
    if name == "clinc":
        rows |= {f"oos-{split}": intents.out_of_scope(data, split) for split in ("val", "test")}
    return rows


def said(data: Path, name: str, seed: int, keep: Path, make: Callable[[], School]) -> dict[str, Tensor]:
    """ "<task>/train", "<task>/valid", "<task>/test", "<task>/oos-test": logits under the module of that task."""
    path = keep / f"{name}-{seed}.safetensors"
    if path.exists():
        return load_file(path)
    made, tasks = make(), SETS[name](data, seed)
    found: dict[str, Tensor] = {}
    for task, (adapter, head) in zip(tasks, made.learn(tasks, seed), strict=True):
        made.model.load([adapter])
        for split, rows in {"train": task.train, **asked(data, name, tasks)}.items():
            found[f"{task.name}/{split}"] = made.logits(rows, head).contiguous()
    keep.mkdir(parents=True, exist_ok=True)
    save_file(found, path)
    return found


def bare(data: Path, name: str, keep: Path, make: Callable[[], School]) -> dict[str, Tensor]:
    """{text: (d,) features of the bare encoder} of all texts of a set, whose grouping into tasks they do not know."""
    tasks = SETS[name](data, 0)
    splits = [*(task.train for task in tasks), *asked(data, name, tasks).values()]
    texts = sorted({str(row.text) for rows in splits for row in rows})
    path = keep / f"{name}-bare.safetensors"
    if not path.exists():
        made = make()
        made.model.load([])
        keep.mkdir(parents=True, exist_ok=True)
        save_file({"features": made.features([Example(text, 0) for text in texts])}, path)
    return dict(zip(texts, load_file(path)["features"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--gpu", action="store_true")
    options = parser.parse_args()
    made = school(options.encoder, options.gpu)
    for name in SETS:
        bare(options.data, name, options.keep, lambda: made)
        for seed in options.seeds:
            said(options.data, name, seed, options.keep, lambda: made)
            print(name, seed, flush=True)


if __name__ == "__main__":
    main()
