"""Seven tasks of the kinds that GLUE has: entailment, questions, sentiment, grammar, similarity, paraphrases.

| task  | what          | head, score          | train / test here | GLUE's           | files                 |
|-------|---------------|----------------------|-------------------|------------------|-----------------------|
| mnli  | entailment    | classify 3           | 1,200 / 750       | 392,702 / 9,815  | cl_benchmark (O-LoRA) |
| qqp   | same question | classify 2           | 800 / 500         | 363,846 / 40,430 | cl_benchmark          |
| sst-2 | sentiment     | classify 2           | 800 / 500         | 67,349 / 872     | cl_benchmark          |
| cola  | grammar       | classify 2, matthews | 8,501 / 1,036     | 8,551 / 1,043    | CoLA                  |
| sts   | similarity    | regress, pearson     | 4,163 / 2,250     | 5,749 / 1,500    | SemEval STS           |
| mrpc  | paraphrases   | classify 2           | 4,076 / 1,725     | 3,668 / 408      | MSR Paraphrase Corpus |
| rte   | entailment    | classify 2           | 799 / 277         | 2,490 / 277      | cl_benchmark          |

The counts are after cleaning; GLUE's are of train and dev, as its test labels are not public. valid is held out of
train everywhere, so test is never selected on. The scores are not GLUE's: the four of cl_benchmark are subsamples
(``task_streams/fifteen.py``); mrpc has its own official splits; sts is not STS-B, only made of the same corpora.

cola   test is the in-domain and the out-of-domain dev set, as in GLUE. 0 unacceptable, 1 acceptable.
mrpc   a pair is different or equivalent (two thirds); GLUE also gives F1.
sts    0 to 5. Train: MSRpar.test and OnWN of 2012, headlines, images, tweet-news and deft-forum of 2014; test:
       answers-students, headlines and images of 2015, of which half the pairs have no rating and go. MSRpar.train is
       left out: all its 750 pairs are in mrpc's test. In answers-students an apostrophe is two quotation marks.
rte    says "contradiction" for not entailed, as O-LoRA has it.
sst-2  and cola have single texts, the others pairs; those of sst-2 begin with "Text:".

CoLA (Warstadt et al. 2018), MSR Paraphrase Corpus (Dolan and Brockett 2005) and SemEval STS 2012, 2014 and 2015 are for
research; repositories and commits are in ``continual/stream/mirror.py``. A mirror holds cola/, mrpc/, sts/ and
cl_benchmark/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from continual.errors import DataError
from continual.stream import cl_benchmark
from continual.stream.base import Example, Task
from continual.stream.clean import Text, cleaned, indexed
from continual.stream.mirror import read_text
from continual.stream.order import arrange
from continual.stream.sample import sized

NAMES = ("mnli", "qqp", "sst-2", "cola", "sts", "mrpc", "rte")


def tasks(
    order: str | int | Sequence[str] | None = None,
    shots: int | None = None,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
) -> list[Task]:
    """The tasks in ``order``, with random stratified subsets that depend on ``seed`` and the task's name alone.

    order   None: as in the table; a list of tasks; an integer: random
    shots   rows of train of each class (sts has none: leave it out of ``order``); or
    train   rows of train in all; None: all
    valid   rows of valid, taken from train; None: a tenth of train
    test    rows of test; None: all
    mirror  folder with the four folders; None: CONTINUAL_DATA
    Raises ContinualError: an unknown name or order, shots of sts, or data that cannot be had.
    """
    result = []
    for name in arrange(NAMES, order):
        if name in cl_benchmark.FOLDERS:
            result.append(cl_benchmark.task(name, shots, train, valid, test, seed, mirror))
            continue
        corpus = CORPORA[name]
        found = {
            split: [pair for file in files for pair in _pairs(corpus, file, mirror)]
            for split, files in corpus.files.items()
        }
        cut = sized(_rows(corpus, cleaned(found)), train, valid, test, seed, name, shots)
        result.append(Task(name, corpus.labels, **cut, head=corpus.head, score=corpus.score, source=corpus.source))
    return result


class Corpus(NamedTuple):
    """Files of tab-separated lines; ``row`` makes (label, text) of the fields of one, None where it has no label."""

    files: dict[str, Sequence[str]]
    row: Callable[[list[str]], tuple[Any, Text] | None]
    fields: int
    labels: tuple[str, ...]
    head: str
    score: str
    source: str


def _pairs(corpus: Corpus, file: str, mirror: str | None) -> list[tuple[Any, Text]]:
    lines = read_text(file, mirror, "utf-8-sig").removesuffix("\n").split("\n")
    found = []
    for number, line in enumerate(lines, 1):
        fields = line.rstrip("\r").split("\t")
        try:
            if len(fields) != corpus.fields:
                raise ValueError(f"{len(fields)} fields")
            found.append(corpus.row(fields))
        except ValueError as error:
            raise DataError(
                f"{file}, line {number}: expected {corpus.fields} fields with tabs between them, one of them a label; "
                f"got {line!r:.80} ({error})"
            ) from None
    return [pair for pair in found if pair is not None]


def _rows(corpus: Corpus, splits: dict[str, list[tuple[Any, Text]]]) -> dict[str, list[Example]]:
    if corpus.labels:
        return indexed(splits, corpus.labels)
    return {split: [Example(text, number) for number, text in pairs] for split, pairs in splits.items()}


def _grammar(fields: list[str]) -> tuple[str, Text]:
    """Source, label, the author's mark, sentence."""
    return ("unacceptable", "acceptable")[_bit(fields[1])], fields[3]


def _paraphrase(fields: list[str]) -> tuple[str, Text] | None:
    """Label, two ids, two sentences; the first line is the header."""
    if fields[0] == "Quality":
        return None
    return ("different", "equivalent")[_bit(fields[0])], (fields[3], fields[4])


def _similarity(fields: list[str]) -> tuple[float, Text] | None:
    """Rating or nothing, two sentences."""
    return (float(fields[0]), (fields[1], fields[2])) if fields[0] else None


def _bit(field: str) -> int:
    """
    >>> _bit("1")
    1
    """
    return ("0", "1").index(field)  # a ValueError for anything else


CORPORA = {
    "cola": Corpus(
        {
            "train": ["cola/in_domain_train.tsv"],
            "test": ["cola/in_domain_dev.tsv", "cola/out_of_domain_dev.tsv"],
        },
        _grammar,
        4,
        ("unacceptable", "acceptable"),
        "classify",
        "matthews",
        "CoLA 1.1 (Warstadt et al. 2018); research",
    ),
    "sts": Corpus(
        {
            "train": [
                *(f"sts/2012/{name}.tsv" for name in ("MSRpar.test", "OnWN.test")),
                *(f"sts/2014/{name}.test.tsv" for name in ("headlines", "images", "tweet-news", "deft-forum")),
            ],
            "test": [f"sts/2015/{name}.test.tsv" for name in ("answers-students", "headlines", "images")],
        },
        _similarity,
        3,
        (),
        "regress",
        "pearson",
        "SemEval STS 2012, 2014, 2015; research",
    ),
    "mrpc": Corpus(
        {"train": ["mrpc/msr_paraphrase_train.txt"], "test": ["mrpc/msr_paraphrase_test.txt"]},
        _paraphrase,
        5,
        ("different", "equivalent"),
        "classify",
        "",
        "Microsoft Research Paraphrase Corpus (Dolan and Brockett 2005); research",
    ),
}
