"""Does composing help? AdapterFusion over sources of one family on few-shot targets, and UniPELT's bundle.

    python benchmarks/composition/effect.py fusion  --packed effect.json.gz [--gpu] [--targets cr] [--rows 100]
    python benchmarks/composition/effect.py unipelt --packed effect.json.gz [--gpu] [--targets cr] [--rows 100]
    python benchmarks/composition/effect.py fusion  --packed effect.json.gz --prune-epochs 5 --records FOLDER/prune-5
    python benchmarks/composition/effect.py nli     --packed effect.json.gz --encoder google-bert/bert-base-uncased

``effect_data.py`` makes the pack. fusion: for each target, number of rows and seed the head alone, a bottleneck, fusion
over all sources and that bottleneck, fusion over the sources alone; for sarcasm also over sentiment, formality and
topic. nli: the same for RTE and CB after MNLI and QQP, as in the paper; it needs an encoder that can learn NLI, which
MiniLM is not. unipelt: the bundle with gates beside each of its methods alone. sources: nothing but the sources of
fusion, so that several processes find them.

Each is as it is after its last epoch; validation rows serve one choice only, that between fusion and the single module
(``effect_report.py``), test rows none. A fusion's head goes on from that of the bottleneck, as in
``continual/compose.py``; without it from that of the head alone. Sources are learned once, with seed 0; a seed draws
the target's rows, the initial values and the order. What is in ``records/`` is kept, entry by entry.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1]))

from effect_rows import Pack, few, majority, read  # noqa: E402
from effect_school import MAX_LENGTH, Job, Module, School, Scores, weights_of  # noqa: E402

from benchmarks.methods.book import Book  # noqa: E402
from continual import method  # noqa: E402
from continual.adapter import Adapter  # noqa: E402
from continual.composition.fusion import Fusion  # noqa: E402
from continual.method.bottleneck import Bottleneck  # noqa: E402
from continual.store.store import Store  # noqa: E402
from continual.stream.base import Task  # noqa: E402

FAMILY = ("yelp", "amazon", "imdb", "sst-2", "rotten-tomatoes", "tweets", "agnews", "qqp")
TEXTBOOK = ("sst-2", "formality", "agnews")
"""Sentiment, formality and topic: what sarcasm is composed of in the field's standard example."""
NLI = ("mnli", "qqp")
SARCASM = {"textbook-own": (TEXTBOOK, True), "textbook": (TEXTBOOK, False)}
"""Variant -> the sources that it is over, and whether the target's own bottleneck is the last member."""


class Study(NamedTuple):
    """Without sources nothing is fused."""

    targets: tuple[str, ...]
    rows: tuple[int, ...]
    sources: tuple[str, ...]


STUDIES = {
    "fusion": Study(("cr", "mpqa", "subj", "mrpc", "cola", "isarcasm"), (100, 300), (*FAMILY, "formality")),
    "nli": Study(("rte", "cb"), (100,), NLI),
    "unipelt": Study(("cr", "mpqa", "subj", "mrpc", "cola"), (100, 500, 1000), ()),
    "sources": Study((), (), (*FAMILY, "formality")),
}


class Case(NamedTuple):
    """One target with so many rows drawn by one seed, and the book that its entry goes into."""

    task: Task
    rows: int
    seed: int
    book: Book

    @property
    def key(self) -> str:
        return f"{self.rows}/{self.seed}"


def main() -> None:
    options = _options()
    pack = read(options.packed)
    school = School(options.encoder, options.gpu, options.group)
    setting = {
        "encoder": Path(options.encoder).name,
        "weights": weights_of(options.encoder),
        "max_length": MAX_LENGTH,
        "pack": pack.digest,
        "epochs": options.epochs,
        "batch": 32,
        "fp32_matmul": "highest",
    }
    learned = {}
    if names := STUDIES[options.what].sources:
        tasks = [pack.sources[name] for name in names]
        learned, setting["sources"] = school.sources(tasks, Bottleneck(), options.source_epochs, Store(options.store))
    todo = list(_cases(pack, options, setting))
    print(f"{len(todo)} cases to do", flush=True)
    for rows in dict.fromkeys(case.rows for case in todo):  # what takes as many steps shares a group
        cases = [case for case in todo if case.rows == rows]
        if learned:
            _fusion(school, learned, cases, options)
        else:
            _unipelt(school, cases, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=STUDIES)
    parser.add_argument("--packed", type=Path, required=True, help="what effect_data.py wrote")
    parser.add_argument("--encoder", default="minilm", help="or a folder with the same encoder")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--targets", nargs="*")
    parser.add_argument("--rows", type=int, nargs="*")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--source-epochs", type=int, default=5)
    parser.add_argument("--fusion-lr", type=float, default=3e-4)
    parser.add_argument("--regularizer", type=float, default=0.01, help="of fusion's value matrix")
    parser.add_argument("--prune-epochs", type=int, default=0, help="for which a pruned fusion is trained on")
    parser.add_argument("--bundle", default="unipelt", help="the method that is held against its parts")
    parser.add_argument("--factor", type=float, default=1.0, help="times the rate that each method names, of unipelt")
    parser.add_argument("--group", type=int, default=30, help="modules that are learned together")
    parser.add_argument("--store", type=Path, default=Path("store"), help="where the sources' modules are kept")
    parser.add_argument("--records", type=Path, default=HERE / "records")
    options = parser.parse_args()
    options.targets = options.targets or STUDIES[options.what].targets
    options.rows = options.rows or STUDIES[options.what].rows
    return options


def _cases(pack: Pack, options: argparse.Namespace, setting: Mapping[str, Any]) -> Iterator[Case]:
    """Those that are not in the records yet."""
    names = (
        ("bundle", "factor")
        if options.what == "unipelt"
        else ("source_epochs", "fusion_lr", "regularizer", "prune_epochs")
    )
    own = {name: getattr(options, name) for name in names}
    for name in options.targets:
        task = pack.targets[name]
        facts = {**setting, **own, "target": name, "score": task.score or "accuracy", "test": len(task.test)}
        facts["majority"] = round(majority(task), 4)
        book = Book(options.records / f"effect-{options.what}-{name}.json", facts)
        for rows in options.rows:
            for seed in options.seeds:
                if f"{rows}/{seed}" not in book.rows:
                    yield Case(few(task, rows, seed), rows, seed, book)


def _fusion(school: School, sources: Mapping[str, Adapter], cases: Sequence[Case], options: argparse.Namespace) -> None:
    family = NLI if options.what == "nli" else FAMILY
    heads = list(school.modules([Job(c.task, method.named("head", {}), c.seed, options.epochs) for c in cases]))
    singles = list(school.modules([Job(c.task, Bottleneck(), c.seed, options.epochs) for c in cases]))
    for case, (bare, at_head), (single, at_single) in zip(cases, heads, singles, strict=True):
        start = time.perf_counter()
        entry: dict[str, Any] = {"head": at_head, "single": at_single}
        variants = {"own": (family, True), "sources": (family, False)}
        for name, (names, own) in (variants | (SARCASM if case.task.name == "isarcasm" else {})).items():
            members = [*(sources[n] for n in names), *([single.adapter] if own else [])]
            entry[name] = _fused(school, case, name, members, single if own else bare, options)
            entry[name]["members"] = [*names, *([case.task.name] if own else [])]
        _enter(case, entry, start)


def _fused(
    school: School, case: Case, variant: str, members: Sequence[Adapter], before: Module, options: argparse.Namespace
) -> dict[str, Any]:
    fusion = Fusion(regularizer=options.regularizer, lr=options.fusion_lr)
    job = (f"{case.task.name}/{case.rows}/fusion-{variant}", case.seed, options.epochs)
    found = school.compose(case.task, fusion, members, before.head, job, options.prune_epochs)
    return {**found.scores, "attention": found.attention, "pruned": found.pruned}


def _unipelt(school: School, cases: Sequence[Case], options: argparse.Namespace) -> None:
    bundle = method.named(options.bundle, {})
    methods = {"bundle": bundle, **{name: method.named(name, {}) for name in ("bottleneck", "prefix", "lora")}}
    start = time.perf_counter()
    found: dict[str, list[Scores]] = {}
    for name, kind in methods.items():
        jobs = [Job(case.task, kind, case.seed, options.epochs, options.factor) for case in cases]
        found[name] = [scores for _, scores in school.modules(jobs)]
        print(f"{name} at {cases[0].rows} rows: {time.perf_counter() - start:.0f} s", flush=True)
    for index, case in enumerate(cases):
        case.book.setting["lr"] = {name: kind.lr * options.factor for name, kind in methods.items()}
        _enter(case, {name: scores[index] for name, scores in found.items()}, start)


def _enter(case: Case, entry: Mapping[str, Any], start: float) -> None:
    case.book.put(case.key, entry)
    shown = ", ".join(f"{name} {100 * made['test'][_score(case)]:.1f}" for name, made in entry.items())
    print(f"{case.task.name} {case.key}: {shown} ({time.perf_counter() - start:.0f} s)", flush=True)


def _score(case: Case) -> str:
    return case.task.score or "accuracy"


if __name__ == "__main__":
    main()
