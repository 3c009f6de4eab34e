"""How well each method learns: accuracy, forgetting, and how much the learning rate matters. MiniLM, quickstart.

    python benchmarks/methods/quality.py --gpu [--rows lora prefix]

Every site method learns all its tasks, seeds and rates in a few groups (``continual.trainer.learn`` takes them
together); a weight method learns one at a time. Each (task, seed) is learned with the rate that the method names, and
with eight more; then each module goes on to the next task, as one shared module would, and answers the first again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from book import Book
from ours import encoder
from rows import ROWS, Row

from continual.adapter import Adapter, flatten, fresh, generator
from continual.bank import HeadBank
from continual.encoder.adapted import AdaptedEncoder
from continual.errors import ContinualError
from continual.evaluate import score_of
from continual.head.classify import Classify
from continual.method.base import Params, WeightMethod
from continual.predict import answers
from continual.progress import Progress
from continual.request import Learn, Recipe
from continual.score.base import value
from continual.stream.base import Task
from continual.stream.text import Reader
from continual.task_streams import quickstart
from continual.trainer import Machine, learn

HERE = Path(__file__).resolve().parent
HEAD = Classify()
FACTORS = tuple(2.0 ** (-2 + 4 * i / 7) for i in range(8))
"""Eight rates, equally far apart in the logarithm, from a quarter to four times the one that the method names."""


class Job(NamedTuple):
    """One module to learn. ``start``: the module it goes on from; None: a fresh one."""

    task: Task
    seed: int
    factor: float
    start: Adapter | None = None


class Module(NamedTuple):
    """One that was learned; ``score`` on the task's test rows is None where it diverged."""

    job: Job
    adapter: Adapter
    head: Params
    score: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rate-seeds", type=int, nargs="*", default=[0, 1, 2], help="of the eight rates")
    parser.add_argument("--group", type=int, default=24, help="modules that are learned together")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--train", type=int, default=1000, help="as stream.train of quickstart")
    parser.add_argument("--records", type=Path, default=HERE / "records")
    options = parser.parse_args()
    for name in options.rows:
        try:
            one(name, options)
        except ContinualError as error:
            print(f"{name}: left out: {error}", flush=True)


def one(name: str, options: argparse.Namespace) -> None:
    """The record of a method: "default" and "forgetting", then "rates"."""
    setting = {"encoder": "minilm", "method": name, "epochs": options.epochs, "batch": 32, "lr": ROWS[name].method.lr}
    book = Book(options.records / f"quality-{name}.json", {**setting, "train": options.train, "seeds": options.seeds})
    tasks = quickstart.tasks(train=options.train)
    # Task by task, so that the texts of a group are of like lengths.
    jobs = [Job(task, seed, factor) for task in tasks for seed in options.rate_seeds for factor in FACTORS]
    swept = list(book.rows.get("rates", {}).get("modules", []))
    done = {(m["task"], m["seed"], m["factor"]) for m in swept}
    jobs = [job for job in jobs if (job.task.name, job.seed, round(job.factor, 4)) not in done]
    known = {"default", "forgetting"} <= book.rows.keys()
    if known and not jobs:
        return
    school = School(ROWS[name], options)
    if not known:
        first = list(school.learn([Job(task, seed, 1.0) for seed in options.seeds for task in tasks]))
        book.put("default", {"modules": [plain(module) for module in first]})
        then = [Job(after(tasks, m.job.task), m.job.seed, 1.0, m.adapter) for m in first]
        pairs = [pair(a, b, school.again(a, b)) for a, b in zip(first, list(school.learn(then)), strict=True)]
        book.put("forgetting", {"pairs": pairs})
        print(name, "default", mean(book.rows["default"]["modules"]), flush=True)
    for module in school.learn(jobs):
        swept.append(plain(module))
        book.put("rates", {"modules": swept})
    print(name, "rates", flush=True)


class School:
    """Learns and examines modules of one method on one encoder."""

    def __init__(self, row: Row, options: argparse.Namespace) -> None:
        self.row, self.options = row, options
        made = encoder("minilm", row.quantize[options.gpu] if row.quantize else None)
        self.machine = Machine("gpu" if options.gpu else "cpu")
        self.model = AdaptedEncoder(made).to("cuda" if options.gpu else "cpu")
        self.reader = Reader(made.tokenizer, made.max_length)

    def learn(self, jobs: Sequence[Job]) -> Iterator[Module]:
        size = 1 if isinstance(self.row.method, WeightMethod) else self.options.group
        for first in range(0, len(jobs), size):
            part = jobs[first : first + size]
            learned = learn(self.model, [self.request(job) for job in part], self.machine, Progress(quiet=True))
            ruined = [bool(one.diverged) or not finite(one.adapter, one.head_params) for one in learned]
            held = [(job.task, one.adapter, one.head_params) for job, one in zip(part, learned, strict=True)]
            for job, one, bad, score in zip(part, learned, ruined, self.scores(held), strict=True):
                yield Module(job, one.adapter, one.head_params, None if bad else score)

    def scores(self, held: Sequence[tuple[Task, Adapter, Params]]) -> list[float]:
        """Of each task's test rows under its module and head."""
        self.model.load([adapter for _, adapter, _ in held])
        bank = HeadBank([(HEAD, head) for _, _, head in held]).to(next(self.model.encoder.parameters()).device)
        found = []
        for index, (task, _, _) in enumerate(held):
            data, score = self.reader(task.test, HEAD, task.labels), score_of(task)
            said = answers(self.model, bank, data, index if len(held) > 1 else None)
            found.append(value(score, score.rows(said, data.wanted, task.labels)))
        return found

    def request(self, job: Job) -> Learn:
        task, name = job.task, f"{job.task.name}{'+' if job.start else ''}"
        adapter = job.start
        if adapter is None:
            seed = int(generator(job.seed, "init", name).initial_seed())
            adapter = fresh(self.row.method, self.model.shapes, self.model.weights, seed, self.model.absent)
        return Learn(
            name=name,
            adapters=(adapter,),
            head=HEAD,
            head_params=HEAD.init(self.model.width, len(task.labels), generator(job.seed, "head", name)),
            train=self.reader(task.train, HEAD, task.labels),
            valid=self.reader(task.valid, HEAD, task.labels),
            score=score_of(task),
            labels=task.labels,
            recipe=Recipe(epochs=self.options.epochs),
            lr=self.row.method.lr * job.factor,
            seed=int(generator(job.seed, "order", name).initial_seed()),
        )

    def again(self, first: Module, then: Module) -> float | None:
        """The score of the first task, by the head it had and the module as it is after the second."""
        if first.score is None or then.score is None:
            return None
        return self.scores([(first.job.task, then.adapter, first.head)])[0]


def after(tasks: Sequence[Task], task: Task) -> Task:
    """The next task of the stream; after the last the first."""
    return tasks[(tasks.index(task) + 1) % len(tasks)]


def finite(adapter: Adapter, head: Params) -> bool:
    return all(bool(t.isfinite().all()) for t in [*flatten(adapter.params).values(), *head.values()])


def plain(module: Module) -> dict[str, Any]:
    job = module.job
    return {"task": job.task.name, "seed": job.seed, "factor": round(job.factor, 4), "score": module.score}


def pair(first: Module, then: Module, again: float | None) -> dict[str, Any]:
    job = first.job
    return {
        "task": job.task.name,
        "next": then.job.task.name,
        "seed": job.seed,
        "before": first.score,
        "after": again,
        "learned": then.score,
    }


def mean(modules: Sequence[dict[str, Any]]) -> float:
    found = [module["score"] or 0.0 for module in modules]
    return sum(found) / len(found)


if __name__ == "__main__":
    main()
