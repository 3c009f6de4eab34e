"""Which task a query is of, when nobody says: every router on CLINC150's domains and on Banking77's groups.

    python benchmarks/composition/routing.py --data FOLDER --keep FOLDER [--encoder NAME] [--gpu]

One record a set, one row a seed and router: route accuracy, accuracy with the task not given, and with it given (the
oracle's). CLINC150 has out-of-scope queries: a router's largest score tells them from the others (AUROC). The seed
gives initial values and data order of the modules, the order of CLINC150's domains, and which intents of Banking77 are
grouped. Options of routers were chosen on held-out rows (``--split valid``); the records are of test rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from routing_modules import EPOCHS, LENGTH, METHOD, SETS, asked, bare, said, school
from routing_tried import TRIED
from sklearn.metrics import roc_auc_score
from torch import Tensor

from continual import folder
from continual.router import named
from continual.router.base import Evidence, Query, Router
from continual.routing import Account, answer
from continual.stream.base import Rows, Task
from continual.task_inference import TaskInference

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "methods"))

from book import Book  # noqa: E402

NAMES = folder.names("continual.router")
SPLITS = {"valid": "oos-val", "test": "oos-test"}


class Told(NamedTuple):
    """Of one set and seed: tasks, their evidence, and rows to ask about by split, with logits by (task, split)."""

    tasks: list[Task]
    evidence: list[Evidence]
    features: Mapping[str, Tensor]
    logits: Mapping[str, Tensor]

    def query(self, split: str, only: int | None = None) -> Query:
        """All rows of a split, or those of one task."""
        rows = torch.arange(len(self.features[split]))
        truth = torch.full_like(rows, -1)
        if split in SPLITS:
            sizes = torch.tensor([len(task.splits[split]) for task in self.tasks])
            truth = torch.arange(len(self.tasks)).repeat_interleave(sizes)
            rows = rows if only is None else (truth == only).nonzero()[:, 0]
        return Query(
            self.features[split][rows], lambda task, some: self.logits[f"{task}/{split}"][rows[some]], truth[rows]
        )

    @property
    def scope(self) -> str | None:
        return next((split for split in self.features if split.startswith("oos")), None)


def told(options: argparse.Namespace, name: str, seed: int) -> Told:
    make = cache(lambda: school(options.encoder, options.gpu))
    tasks = SETS[name](options.data, seed)
    logits, known = said(options.data, name, seed, options.keep, make), bare(options.data, name, options.keep, make)

    def features(rows: Rows) -> Tensor:
        return torch.stack([known[str(row.text)] for row in rows])

    evidence = [
        Evidence(features(task.train), torch.tensor([row.label for row in task.train]), logits[f"{task.name}/train"])
        for task in tasks
    ]
    return Told(tasks, evidence, {s: features(rows) for s, rows in asked(options.data, name, tasks).items()}, logits)


def measured(router: Router, told: Told, split: str) -> dict[str, Any]:
    """Show it the tasks in order; ask it after the last."""
    known = TaskInference(router)
    for index, task in enumerate(told.tasks):
        known = known.learn(task.name, told.evidence[index])
        known = known.calibrated(task.name, told.query("valid", index))
    query = told.query(split)
    account = accounted(known, told, query, split)
    found = {
        "route": account.route,
        "total": account.total,
        "oracle": account.oracle,
        "gap": account.oracle - account.total,
        "lucky": int(account.lucky.sum()),
        "lost": int(account.lost.sum()),
        "n": len(account.routed),
        "temperature": known.temperature,
        "auroc": None,
    }
    if told.scope is not None and type(router).__name__ != "Oracle":
        inside, outside = (known.scores(q).amax(1).numpy() for q in (query, told.query(SPLITS[split])))
        truth = np.concatenate([np.ones(len(inside)), np.zeros(len(outside))])
        found["auroc"] = float(roc_auc_score(truth, np.concatenate([inside, outside])))
    return found


def accounted(known: TaskInference, told: Told, query: Query, split: str) -> Account:
    assert query.truth is not None
    likely, labels = known.probabilities(query), [task.labels for task in told.tasks]
    said = answer(likely, known.router.top, lambda task, rows: query.logits(known.tasks[task], rows), labels)
    wanted = [task.labels[row.label] for task in told.tasks for row in task.splits[split]]
    own = torch.stack([query.all_logits(task).argmax(1) for task in known.tasks], 1)
    own = own[torch.arange(len(own)), query.truth].tolist()
    within = [labels[t][c] for t, c in zip(query.truth.tolist(), own, strict=True)]
    return Account(
        routed=(likely.argmax(1) == query.truth).numpy(),
        within=np.array([a == b for a, b in zip(within, wanted, strict=True)]),
        right=np.array([a == b for a, b in zip(said, wanted, strict=True)]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True, help="what modules say is kept there")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--records", type=Path, default=HERE / "records")
    options = parser.parse_args()
    for name in options.sets:
        one(name, options)


def one(name: str, options: argparse.Namespace) -> None:
    """The record of a set: of test rows every router, of held-out rows what else was tried too."""
    setting = {"set": name, "split": options.split, "encoder": options.encoder, "method": folder.arguments(METHOD)}
    setting |= {"epochs": EPOCHS, "max_length": LENGTH, "batch": 32, "seeds": options.seeds}
    suffix = "" if options.split == "test" else f"-{options.split}"
    book = Book(options.records / f"routing-{name}{suffix}.json", setting)
    routers = {router: named(router, {}) for router in NAMES} | ({} if options.split == "test" else TRIED)
    for seed in options.seeds:
        missing = [router for router in routers if f"{router}/{seed}" not in book.rows]
        known = told(options, name, seed) if missing else None
        for router in missing:
            assert known is not None
            book.put(f"{router}/{seed}", measured(routers[router], known, options.split))
    for router in routers:
        print(
            name, router, *(f"{key} {mean(book, router, options.seeds, key):.4f}" for key in ("route", "total", "gap"))
        )


def mean(book: Book, router: str, seeds: Sequence[int], key: str) -> float:
    return float(np.mean([book.rows[f"{router}/{seed}"][key] for seed in seeds]))


if __name__ == "__main__":
    main()
